"""A whole study on ten pictures and two steps, with a tiny network."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from filelock import FileLock

from model.config import PRESETS
from scene.classes import STREET_CLASSES
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from tests.training.runs import log_of
from training.checkpoint import save_checkpoint
from training.command import TrainArguments, Training, prepare
from training.study import RESULT, Study
from training.study_plan import of_recipes

PICTURES = 10


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Cars (and in the last four trucks) on ten pictures."""
    boxes = [(8 * n, 8, 8 * n + 50, 50 + n) for n in range(PICTURES)]
    rows = [
        annotation(n + 1, rle(rectangle(TINY.size_hw, box)), category_id=3 if n < 6 else 4)
        for n, box in enumerate(boxes)
    ]
    return write_coco(tmp_path / "data", TINY.size_hw, PICTURES, rows)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a network that knows other classes too, and fewer of the street's."""
    monkeypatch.setitem(PRESETS, "tiny", replace(TINY, class_names=STREET_CLASSES))
    network = seeded_network(replace(TINY, class_names=("person", "dog", "car", "truck")))
    save_checkpoint(tmp_path / "source.pt", network, step=7, data=["a source"])
    return tmp_path / "source.pt"


@pytest.fixture
def study(tmp_path: Path, data: Path, start: Path) -> Callable[..., int]:
    """Run the command, small."""

    def run(*words: object, preset: tuple[str, ...] = ("--preset", "tiny")) -> int:
        common: list[object] = ["--target", data, "--held-out", data, "--start", start, "--out", tmp_path / "study"]
        small = [*preset, "--steps", "2", "--batch", "2", "--workers", "0", "--evaluate-every", "1"]
        return main(["study", *map(str, (*common, *small, *words))])

    return run


def results(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = sorted(folder.glob(f"*/*/{RESULT}"))
    return {(path.parent.parent.name, path.parent.name): json.loads(path.read_text()) for path in found}


def test_no_rows(study: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert study() == 1
    assert "expected a plan or recipes, one of the two, but 'neither' came" in capsys.readouterr().err


def test_the_whole_of_it(study: Callable[..., int], tmp_path: Path, data: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        """
        seeds = [1, 2]
        [rows."class mapping"]
        recipe = "yolact-untrained"
        [rows.head]
        recipe = "plus-head"
        [rows.everything]
        recipe = "plus-full"
        [rows.focal]
        recipe = "plus-full-focal"
        gamma = 1.0
        [rows.mixed]
        recipe = "plus-full-coco5000"
        source_pictures = 3
        """
    )
    assert study("--plan", plan, "--source", data) == 0
    found = results(tmp_path / "study")
    trained = [(name, f"seed-{seed}") for name in ("everything", "focal", "head", "mixed") for seed in (1, 2)]
    assert sorted(found) == sorted([("class mapping", "seed-1"), *trained])
    assert {name: len(result["points"]) for (name, _), result in found.items()} == {
        "class mapping": 1, "everything": 2, "focal": 2, "head": 2, "mixed": 2
    }  # fmt: skip
    losses = [log_of(tmp_path / "study" / "everything" / f"seed-{seed}")[0]["total"] for seed in (1, 2)]
    assert losses[0] != losses[1]
    text = (tmp_path / "study" / "study.md").read_text()
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert [*lines][2:] == ["class mapping", "head", "everything", "focal", "mixed"]
    assert "| 28.22 | 17.59 | 2 | everything |" in lines["everything"]
    assert " | any | " in lines["class mapping"]
    assert "differences exceed the noise" in text
    for name in ("bars.png", "curves.png"):
        assert cv2.imread(str(tmp_path / "study" / name)) is not None


def test_what_is_finished_is_not_trained_again_and_what_was_killed_goes_on(
    study: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[TrainArguments, int]] = []

    def killed_in_the_second(arguments: TrainArguments) -> Training:
        ready = prepare(arguments)
        ready.trainer.take_up()
        trained.append((arguments, ready.trainer.step))
        if len(trained) == 2:
            save = ready.trainer.save

            def dies(*words: str) -> None:
                save(*words)
                if not words:
                    raise KeyboardInterrupt

            monkeypatch.setattr(ready.trainer, "save", dies)
        return ready

    monkeypatch.setattr("training.study.prepare", killed_in_the_second)
    words = ("--recipes", "plus-head", "plus-full", "--seeds", "3", "4")
    assert study(*words) == 130
    assert sorted(results(tmp_path / "study")) == [("plus-head", "seed-3")]
    assert study(*words) == 0
    assert [(each.recipe, each.seed, step) for each, step in trained] == [
        ("plus-head", 3, 0), ("plus-full", 3, 0), ("plus-full", 3, 1), ("plus-head", 4, 0), ("plus-full", 4, 0)
    ]  # fmt: skip
    assert study(*words) == 0
    assert len(trained) == 5


def test_a_run_that_another_process_is_at_is_left_to_it(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study" / "plus-head" / "seed-1"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        assert study("--recipes", "plus-head", "plus-full", "--seeds", "1") == 0
    said = capsys.readouterr().out
    assert "plus-head, seed 1: another process is at it" in said
    assert "1 of 2 runs are not finished." in said
    assert sorted(results(tmp_path / "study")) == [("plus-full", "seed-1")]


def test_two_processes_share_the_runs(
    study: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('seeds=[1, 2, 3]\n[rows.a]\nrecipe="nano"\nstart="yolact++"\n')
    assert study("--plan", plan, "--processes", "2", preset=()) == 0  # the network is the start's own
    assert len(results(tmp_path / "study")) == 3
    said = capfd.readouterr().out
    assert [said.count(f"a, seed {seed}: begins") for seed in (1, 2, 3)] == [1, 1, 1]


def test_a_folder_of_another_plan_is_refused_and_one_that_has_grown_is_not(
    study: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert study("--recipes", "plus-head", "--seeds", "1") == 0
    assert study("--recipes", "plus-head", "plus-full", "--seeds", "1", "2") == 0
    for words, told in (
        (("--recipes", "plus-full"), "row plus-head is not in this plan"),
        (("--recipes", "plus-head", "plus-full", "--steps", "3"), '"steps":2'),
    ):
        assert study(*words) == 1
        said = capsys.readouterr().err
        assert "holds the runs of another plan" in said
        assert told in said


def test_rows_whose_weights_or_pictures_are_missing_are_left_out_and_named(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study("--recipes", "plus-head", "plus-imagenet", "plus-full-paste", "--seeds", "1") == 0
    said = capsys.readouterr().out
    assert "row plus-imagenet is left out: expected an ImageNet backbone, such as resnet50-19c8e357.pth" in said
    assert "row plus-full-paste is left out: expected a --source, from which it takes pictures" in said
    assert "- plus-imagenet: expected" in (tmp_path / "study" / "study.md").read_text()


def test_a_run_that_fails_stops_no_other(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[rows.odd]\nrecipe="plus-full-coco5000"\nsource_pictures=11\n[rows.head]\nrecipe="plus-head"\n')
    assert study("--plan", plan, "--seeds", "1", "--source", tmp_path / "data") == 1
    assert "odd, seed 1: " in capsys.readouterr().out
    assert sorted(results(tmp_path / "study")) == [("head", "seed-1")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "rows"),
        ('[rows.a]\nrecipe="plus-ful"', "recipe: expected for row a one of nano"),
        ('[rows.a]\nrecipe="plus-full"\nstep=3', "unknown field `step`"),
        ('[rows."a/b"]\nrecipe="plus-full"', "rows: expected names that a folder can have, but 'a/b' came"),
        ('seeds=[1, 1]\n[rows.a]\nrecipe="plus-full"', "seeds: expected numbers from 0, each once"),
        ('[rows.a]\nrecipe="plus-full"\nstart="tuned"', ""),
        ("[rows.a", "is no TOML"),
    ],
)
def test_what_is_no_plan(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    (tmp_path / "plan.toml").write_text(text)
    status = study("--plan", tmp_path / "plan.toml")
    assert (status, sentence in capsys.readouterr().err) == (1 if sentence else 0, True)


def test_a_target_without_a_class_that_the_start_knows(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.toml").write_text('[rows.a]\nrecipe="nano"\nstart="yolact++"\nclasses=["cat", "cow"]')
    assert study("--plan", tmp_path / "plan.toml", "--seeds", "1") == 1
    assert "none of which stands for any of cat, cow" in capsys.readouterr().out


def test_a_row_goes_by_the_folder_and_flags_of_train(tmp_path: Path) -> None:
    plan = of_recipes(("plus-full", "plus-full-paste")).resolved({"steps": 5}, (2,))
    base = TrainArguments((tmp_path / "t",), tmp_path / "o", held_out=tmp_path / "h", source=tmp_path / "s")
    study = Study(plan, {"yolact++": tmp_path / "w"}, base)
    assert study.runs() == [("plus-full", 2), ("plus-full-paste", 2)]
    plain, pasted = (study.arguments(run) for run in study.runs())
    assert plain == replace(
        base,
        out=tmp_path / "o/plus-full/seed-2",
        recipe="plus-full",
        steps=5,
        seed=2,
        start=tmp_path / "w",
        source=None,
    )
    assert pasted.source == tmp_path / "s"
