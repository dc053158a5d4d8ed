import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model.yolact import Yolact
from scene.errors import ConfigurationError
from tests.loopback import free_port
from tests.model.tiny_network import TINY, seeded_network
from tests.training.processes import (
    PATIENCE_S,
    RECIPE,
    finish,
    start,
    street,
    train,
    train_and_die,
    train_as_rank,
    train_with_a_bad_part,
)
from tests.training.runs import log_of
from training.checkpoint import read_checkpoint, save_checkpoint
from training.distributed import ALONE, Ranks, joined_ranks
from training.feed import AugmentedPictures, feed
from training.loop import LAST
from training.recipes import HEAD, Recipe
from training.step import Learner

TERMS = ("box", "classes", "mask", "semantic", "rescoring", "total")


def assert_same_losses(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """To 1e-5, as everywhere; the gradient's length to 1e-4, where sums of another order turn single ReLUs."""
    for mine, its in zip(ours, theirs, strict=True):
        assert mine["step"] == its["step"]
        if "total" in its:
            assert {name: mine[name] for name in TERMS} == pytest.approx({name: its[name] for name in TERMS}, rel=1e-5)
            assert mine["gradient_norm"] == pytest.approx(its["gradient_norm"], rel=1e-4)


def test_alone_there_is_nothing_to_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_ranks("cpu") as ranks:
        assert ranks == ALONE
        assert ranks.leads
    content = {"a": torch.ones(2)}
    assert ALONE.of_leader(content) is content
    parameter = nn.Parameter(torch.ones(2))
    ALONE.total_gradients([parameter])
    assert parameter.grad is None


def test_a_batch_that_processes_cannot_share() -> None:
    with pytest.raises(ConfigurationError, match="a multiple of 6, 3 processes with 2 parts each, but 4 came"):
        Learner(Yolact(TINY), replace(RECIPE, accumulate=2), torch.device("cpu"), ranks=Ranks(0, 3))


def test_processes_see_the_pictures_that_one_would(tmp_path: Path) -> None:
    pictures = AugmentedPictures([street(tmp_path)], None, RECIPE, TINY.size_hw, seed=1)
    whole = [batch.images for batch in feed(pictures, 1, workers=0)]
    shares = [[batch.images for batch in feed(pictures, 1, 0, Ranks(rank, 2))] for rank in (0, 1)]
    assert len(whole) == len(shares[0]) == len(shares[1]) == 3
    for images, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(images, torch.cat([first, second]))


@pytest.mark.parametrize(
    ("trained", "recipe", "learned"),
    [
        # Two steps: where statistics of 4 pictures are learned, a ten-millionth on the weights of one process alone
        # moves its gradient by a thousandth after five.
        pytest.param(False, replace(RECIPE, steps=2, learning_rate=5e-4), True, id="statistics learned"),
        pytest.param(True, replace(RECIPE, batch=8, steps=2, learning_rate=5e-4), True, id="learned of eight pictures"),
        pytest.param(
            True, replace(RECIPE, accumulate=2, optimiser="adamw", ema_decay=0.9), False, id="stored, in parts"
        ),
        pytest.param(True, replace(RECIPE, trains=HEAD, weight_decay=0.1), False, id="partly frozen"),
    ],
)
def test_two_processes_with_half_the_batch_are_as_one(
    tmp_path: Path, trained: bool, recipe: Recipe, learned: bool
) -> None:
    """One picture in three has no object, so that a process may have no positives, and layers no gradient."""
    data, alone, together = tmp_path / "data", tmp_path / "alone", tmp_path / "together"
    street(data)
    single = start(train, alone, data, replace(recipe, accumulate=1), trained)
    port = free_port()
    pair = [start(train_as_rank, rank, 2, port, together, data, recipe, trained) for rank in (0, 1)]
    assert finish(single, *pair) == [0, 0, 0]
    ours, theirs = log_of(together), log_of(alone)
    assert [line["step"] for line in ours] == list(range(1, recipe.steps + 1)), "one process alone writes"
    assert_same_losses(ours, theirs)
    left, right = (read_checkpoint(folder / LAST) for folder in (together, alone))
    assert left["learns_statistics"] is right["learns_statistics"] is learned
    assert torch.equal(left["class_counts"], right["class_counts"])
    start_state = seeded_network().state_dict()
    for name, tensor in left["model"].items():
        if recipe.trains and not name.startswith(recipe.trains):
            assert torch.equal(tensor, start_state[name]), f"{name} is frozen"
        torch.testing.assert_close(tensor, right["model"][name], rtol=1e-3, atol=1e-5, msg=name)


def test_what_is_no_number_in_one_process_is_skipped_by_all(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "run"
    street(data)
    port = free_port()
    pair = [start(train_with_a_bad_part, rank, 2, port, folder, data, RECIPE, True) for rank in (0, 1)]
    assert finish(*pair) == [0, 0]
    assert [line["problem"] for line in log_of(folder)] == ["", "the loss", "", ""]
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_two_processes_go_on_where_one_was_killed(tmp_path: Path) -> None:
    """The second finds no checkpoint where it looks, as on another machine: it is told by the first, which evaluates
    while the second waits."""
    data, whole, leader, other = (tmp_path / name for name in ("data", "whole", "leader", "other"))
    street(data)
    recipe = replace(RECIPE, optimiser="adamw", ema_decay=0.9)
    often = {"checkpoint_every": 1, "evaluate_every": 3}
    single = start(train, whole, data, recipe, True, **often)
    killed = start(train_and_die, 3, leader, data, recipe, True, **often)
    assert finish(single, killed) == [0, -signal.SIGKILL]
    assert read_checkpoint(leader / LAST)["step"] == 2
    port = free_port()
    folders = enumerate((leader, other))
    pair = [start(train_as_rank, rank, 2, port, folder, data, recipe, True, **often) for rank, folder in folders]
    assert finish(*pair) == [0, 0]
    assert not other.exists()
    ours, theirs = log_of(leader), log_of(whole)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs] == [1, 2, 3, 3, 3, 4, 4, 4]
    assert_same_losses(ours, theirs)


@pytest.mark.slow
def test_torchrun_starts_the_command_of_the_documentation(tmp_path: Path) -> None:
    street(tmp_path / "data")
    weights = tmp_path / "start.pt"
    save_checkpoint(weights, seeded_network())
    words = ["train", "--target", tmp_path / "data", "--start", weights, "--steps", "2", "--batch", "4"]
    words += ["--precision", "float32", "--batch-norm", "stored", "--device", "cpu", "--workers", "0", "--out"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "-m", "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for start_words, folder in (["-m"], "alone"), (torchrun, "together"):
        command = [sys.executable, *start_words, "streetmask", *map(str, words), str(tmp_path / folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("last.pt stands at step 2 of 2") == 1, "one process alone speaks"
    assert_same_losses(log_of(tmp_path / "together"), log_of(tmp_path / "alone"))
