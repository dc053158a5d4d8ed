"""Which studies may go on in a folder, on ten pictures and two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from filelock import FileLock, Timeout

from scene.disk import whole_file
from tests.model.tiny_network import seeded_network
from tests.training.small_study import STREET, SmallStudy
from training.checkpoint import read_checkpoint, save_checkpoint
from training.study_folder import PLAN

ONE = ("--recipes", "plus-head", "--seeds", "1")


def refused(study: SmallStudy, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What is said of another plan."""
    capsys.readouterr()
    assert study(*words) == 1
    said = capsys.readouterr().err
    assert "holds the runs of another plan (" in said
    assert said.strip().endswith("): choose another --out")
    return said


def test_a_folder_of_another_plan_is_refused_and_one_that_has_grown_is_not(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(*ONE) == 0
    assert study("--recipes", "plus-head", "plus-full", "--seeds", "1", "2") == 0
    assert "(row plus-head is not in this plan)" in refused(study, capsys, "--recipes", "plus-full")
    changed = ("--recipes", "plus-head", "plus-full", "--steps", "3", "--size", "128x128")
    said = refused(study, capsys, *changed)
    assert "row plus-head had another recipe (steps 2 there, 3 here)" in said
    assert "row plus-head had another network (size None there, 128x128 here)" in said
    assert "; and 1 more)" in said


def test_a_row_of_other_pictures_is_another_training(study: SmallStudy, capsys: pytest.CaptureFixture[str]) -> None:
    few = '[rows.few]\nrecipe="plus-head"\ntarget_pictures={}\n[rows.all]\nrecipe="plus-head"\n'
    words = ("--seeds", "1", "--plan", study.plan(few.format(4)))
    assert study(*words) == 0
    assert {name for name, _ in study.results()} == {"few", "all"}, "none is merged with the other"
    assert study(*words) == 0
    study.plan(few.format(5))
    said = refused(study, capsys, *words)
    assert "(row few had another network (target_pictures 4 there, 5 here))" in said
    study.plan(few.format(5) + "target_pictures=5\n")
    assert study(*words, "--out", study.folder / "five") == 0
    assert "- all is the same training as few\n" in (study.folder / "five" / "study.md").read_text()


def test_missing_weights_and_pictures_may_be_added_later(study: SmallStudy, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--recipes", "plus-head", "plus-imagenet", "plus-full-paste", "--seeds", "1")
    assert study(*words) == 0
    backbone = study.folder / "backbone.pt"
    save_checkpoint(backbone, seeded_network(STREET), step=0)
    head = study.out / "plus-head" / "seed-1" / "result.json"
    before = head.stat().st_mtime_ns
    assert study(*words, "--source", study.folder / "source", "--start", backbone, study.folder / "source.pt") == 0
    assert {name for name, _ in study.results()} == {"plus-head", "plus-imagenet", "plus-full-paste"}
    assert head.stat().st_mtime_ns == before
    said = refused(study, capsys, *words)
    assert "(row plus-imagenet is left out now; row plus-full-paste is left out now)" in said


def test_a_source_that_no_row_takes_is_of_no_account(study: SmallStudy) -> None:
    assert study(*ONE, "--source", study.folder / "source") == 0
    assert study(*ONE) == 0


def test_the_same_files_by_another_name_go_on(study: SmallStudy) -> None:
    assert study(*ONE) == 0
    moved = study.folder / "weights.pt"
    (study.folder / "source.pt").rename(moved)
    (study.folder / "held-out").rename(study.folder / "elsewhere")
    again = ("--held-out", study.folder / "elsewhere" / "instances.json", "--start", moved)
    assert study(*ONE, *again, "--target", study.folder / "source" / ".." / "target") == 0


def test_weights_trained_further_and_data_made_again_are_told(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = (*ONE[:2], "plus-full-paste", *ONE[2:], "--source", study.folder / "source")
    assert study(*mixed) == 0
    content = read_checkpoint(study.folder / "source.pt")
    network = seeded_network(STREET)
    save_checkpoint(study.folder / "source.pt", network, step=9, data=content["data"])
    assert "(row plus-head began with other weights;" in refused(study, capsys, *mixed)
    for name, told in (("source", "row plus-full-paste had another source"), ("target", "its target had other labels"),
                       ("held-out", "its held-out set had other labels")):  # fmt: skip
        path = study.folder / name / "instances.json"
        path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd":  0'))
        assert told in refused(study, capsys, *mixed)


@pytest.mark.parametrize("content", ["", "{", '{"target": "data/streets"}'])
def test_a_damaged_record_is_told_in_a_sentence(
    study: SmallStudy, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    study.out.mkdir()
    (study.out / PLAN).write_text(content)
    assert study(*ONE) == 1
    assert "plan.json is no record of a study's plan (" in capsys.readouterr().err


def test_what_is_of_all_runs_is_written_by_one_process_at_a_time(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    @contextmanager
    def held(path: Path) -> Iterator[IO[bytes]]:
        with pytest.raises(Timeout), FileLock(study.out / ".lock", timeout=0):
            pass
        written.append(path.name)
        with whole_file(path) as stream:
            yield stream

    for module in ("study_folder", "study_command", "charts"):
        monkeypatch.setattr(f"training.{module}.whole_file", held)
    assert study(*ONE) == 0
    assert written == ["plan.json", "study.md", "bars.png", "curves.png", "study.md"]
