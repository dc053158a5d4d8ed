"""A run whose process is killed, anywhere and more than once, is in the end the run that was never stopped."""

import random
import signal
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.training.processes import PATIENCE_S, RECIPE, finish, start, street, train, train_and_die
from tests.training.runs import log_of
from training.checkpoint import load_network, read_checkpoint
from training.loop import LAST

CLOCKS = ("seconds", "data_seconds", "images_per_second")


def told(folder: Path) -> list[dict[str, Any]]:
    """The log without what a clock says."""
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in log_of(folder)]


def kill_once_it_has_done(process: BaseProcess, log: Path, steps: int) -> None:
    """SIGKILL from outside, wherever it is by then."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and (not log.is_file() or log.read_bytes().count(b"\n") < steps):
        time.sleep(0.01)
    process.kill()


def test_a_run_killed_anywhere_is_as_one_never_stopped(tmp_path: Path) -> None:
    data, whole, killed = tmp_path / "data", tmp_path / "whole", tmp_path / "killed"
    street(data)
    recipe = replace(RECIPE, steps=12, batch=2, ema_decay=0.9, optimiser="adamw")
    arguments, often = (data, recipe, False), {"checkpoint_every": 3, "evaluate_every": 4}
    reference = start(train, whole, *arguments, **often)
    first = start(train, killed, *arguments, **often)
    steps = random.SystemRandom().randint(1, 6)  # of 12, so that it is not over before the kill
    kill_once_it_has_done(first, killed / "log.jsonl", steps)
    assert finish(reference, first) == [0, -signal.SIGKILL], f"killed behind step {steps}"
    second = start(train_and_die, 2, killed, *arguments, **often)
    assert finish(second) == [-signal.SIGKILL]
    assert [path for path in killed.glob("*.partial") if path.stat().st_size > 0], "of the last or the best"
    third = start(train, killed, *arguments, **often)
    assert finish(third) == [0]
    assert len(told(whole)) == 12 + 2 * 3
    assert told(killed) == told(whole)
    ours, theirs = (read_checkpoint(folder / LAST) for folder in (killed, whole))
    for part in ("model", "raw_model"):
        assert all(bool((ours[part][name] == tensor).all()) for name, tensor in theirs[part].items())
    assert sorted(path.name for path in killed.iterdir()) == ["best.pt", "last.pt", "log.jsonl", "tensorboard"]
    assert read_checkpoint(killed / "best.pt")["step"] == theirs["best_step"]
    load_network(killed / "best.pt")
