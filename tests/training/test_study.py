"""The command and its table, on ten pictures and two steps."""

from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import pytest

from tests.model.tiny_network import seeded_network
from tests.training.runs import log_of
from tests.training.small_study import STREET, SmallStudy
from training.checkpoint import read_checkpoint, save_checkpoint
from training.command import TrainArguments
from training.data.dataset import InstanceDataset
from training.data.location import open_dataset
from training.study import Study
from training.study_check import checked
from training.study_command import CURVE_POINTS
from training.study_plan import PLANS, STAND_IN, Plan, of_recipes


def test_no_rows(study: SmallStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert study() == 1
    assert "expected a plan or recipes, one of the two, but 'neither' came" in capsys.readouterr().err


def test_the_stand_in_plan(study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        name: msgspec.structs.replace(row, source_pictures=3) if row.of_recipe.mixing else row
        for name, row in STAND_IN.rows.items()
    }
    monkeypatch.setitem(PLANS, "stand-in", Plan(rows, all=STAND_IN.all))
    source = ("--source", study.folder / "source")
    assert study("--plan", "stand-in", "--seeds", "1", *source) == 0
    found = study.results()
    assert {name: len(result["points"]) for (name, _), result in found.items()} == {
        name: 2 if row.of_recipe.steps else 1 for name, row in rows.items()
    }
    lines = {line.split(" | ")[0].strip("| "): line for line in study.report().splitlines() if line.startswith("| ")}
    assert [*lines][2:] == [*rows]
    assert " | 28.22 | 17.59 | 1 | everything |" in lines["everything"]
    assert " | 0.76 (so printed) | 14.5 | 1 | COCO's weights" in lines["class mapping"]
    assert ", 3 source pictures |" in lines["more pictures"]
    for name in ("bars.png", "curves.png"):
        assert cv2.imread(str(study.out / name)) is not None
        assert f"]({name})\n" in study.report()
    assert not (study.out / "pictures.png").exists()


def test_seeds_differ_and_without_steps_only_where_weights_lack_a_class(study: SmallStudy) -> None:
    words = ("--recipes", "yolact-untrained", "plus-full", "--evaluate-every", "0")
    save_checkpoint(study.folder / "whole.pt", seeded_network(STREET), step=7)
    assert study(*words) == 0
    losses = [log_of(study.out / "plus-full" / f"seed-{seed}")[0]["total"] for seed in (1, 2)]
    assert losses[0] != losses[1]
    assert ("yolact-untrained", "seed-2") in study.results()
    assert not (study.out / "curves.png").exists()
    assert study(*words, "--start", study.folder / "whole.pt", "--out", study.folder / "certain") == 0
    assert [path.name for path in (study.folder / "certain" / "yolact-untrained").iterdir()] == ["seed-1"]
    assert " | any | " in (study.folder / "certain" / "study.md").read_text()


def test_on_the_way_back_the_sources_weights_are_measured_as_they_stand(study: SmallStudy) -> None:
    whole = study.folder / "whole.pt"
    save_checkpoint(whole, seeded_network(STREET), step=7)
    assert study("--plan", "back", "--start", f"source={whole}", f"tuned={study.folder / 'source.pt'}") == 0
    counts = {name: sum(row == name for row, _ in study.results()) for name in PLANS["back"].rows}
    assert counts == {"no training": 1, "straight on": 2, "by way of the target": 2}, "nothing random is measured"
    assert "In every row that is trained: preset tiny, reinitialise classes, steps 2, batch 2." in study.report()


def test_curves_have_five_points_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    base = TrainArguments((tmp_path,), tmp_path, evaluate_every=7)
    recipes = of_recipes(("plus-full", "yolact-untrained")).resolved({})
    given, five = (Study(recipes, {}, base, points=points) for points in (0, CURVE_POINTS))
    assert [given.arguments(run).evaluate_every for run in given.runs()[:2]] == [7, 7]
    assert [five.arguments(run).evaluate_every for run in five.runs()[:2]] == [4500, 1]


def test_what_cannot_be_trained_is_told_before_anything_is(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = study.plan(
        """
        [rows.good]
        recipe = "plus-head"
        [rows."gamma of none"]
        recipe = "plus-full"
        gamma = 1.0
        [rows."too many"]
        recipe = "plus-full-coco5000"
        source_pictures = 11
        [rows."more than there are"]
        recipe = "plus-head"
        target_pictures = 11
        [rows."one without a car"]
        recipe = "plus-head"
        classes = ["car"]
        target_pictures = 1
        [rows."other classes"]
        recipe = "nano"
        start = "yolact++"
        classes = ["cat", "cow"]
        [rows."not there"]
        recipe = "nano"
        start = "nothing"
        classes = ["bus"]
        """
    )
    assert study("--plan", plan, "--source", study.folder / "source") == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("rows: expected rows that can be trained, but some came that cannot:")
    assert [line.split(":")[0] for line in told[1:]] == [
        "- gamma of none",
        "- too many",
        "- more than there are",
        "- one without a car",
        "- other classes",
        "- not there",
    ]
    sentences = (
        "expected a focal loss",
        "but 10 of its 10 pictures do",
        "target_pictures: expected 1 to the 10 that ",
        "has no object of any of the classes car in its 1 pictures",
        "none of which stands for any of cat, cow",
        "has no object of any of the classes bus",
    )
    for line, sentence in zip(told[1:], sentences, strict=True):
        assert sentence in line
    assert not study.out.exists()


def test_rows_of_different_numbers_of_pictures_are_drawn_over_them(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study("--plan", "pictures") == 1
    assert "- scratch, 25, head, 25, everything, 25: target_pictures: expected 1 to the 10" in capsys.readouterr().err
    row = '[rows."head, {0}"]\nrecipe="plus-head"\ntarget_pictures={0}\n'
    plan = study.plan("".join(map(row.format, (2, 5))) + '[rows.head]\nrecipe="plus-head"\n')
    assert study("--plan", plan, "--seeds", "1", "--evaluate-every", "0") == 0
    seen = {name: read_checkpoint(study.out / name / "seed-1" / "last.pt")["data"] for name, _ in study.results()}
    assert {name: data[0].split()[0] for name, data in seen.items()} == {"head, 2": "2", "head, 5": "5", "head": "10"}
    assert cv2.imread(str(study.out / "pictures.png")) is not None
    assert study.report().endswith("a dot](pictures.png)\n")


def test_before_the_first_run_each_file_is_read_once(study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def counted(path: Path, class_names: tuple[str, ...]) -> InstanceDataset:
        opened.append(path.name)
        return open_dataset(path, class_names)

    monkeypatch.setattr("training.study_check.open_dataset", counted)
    base = TrainArguments((study.folder / "target",), study.out, study.folder / "held-out", study.folder / "source")
    rows = of_recipes(("plus-head", "plus-full", "plus-full-paste")).resolved({"preset": "tiny", "steps": 2})
    found = checked(Study(rows, {"yolact++": study.folder / "source.pt"}, base))
    assert (found.same_as, found.certain) == ({}, frozenset())
    assert sorted(opened) == ["held-out", "source", "target"]


@pytest.mark.parametrize("flag", ["--steps", "--batch"])
def test_zero_is_no_number_of_steps_or_pictures(
    study: SmallStudy, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert study("--recipes", "plus-head", "plus-full", flag, "0") == 1
    assert f"- plus-head, plus-full: {flag[2:]}: expected a number above 0, but 0 came" in capsys.readouterr().err


def test_what_is_trained_on_is_not_measured_on(study: SmallStudy, capsys: pytest.CaptureFixture[str]) -> None:
    same = study.folder / "source" / ".." / "target" / "instances.json"
    assert study("--recipes", "plus-head", "--held-out", same) == 1
    assert "held_out: expected other pictures than those of --target" in capsys.readouterr().err


def test_two_names_of_one_training_are_one_row(study: SmallStudy) -> None:
    assert study("--recipes", "yolact-head", "plus-head", "plus-full", "--seeds", "1") == 0
    assert {name for name, _ in study.results()} == {"yolact-head", "plus-full"}
    assert "- plus-head is the same training as yolact-head\n" in study.report()


def test_rows_whose_weights_or_pictures_are_missing_are_left_out_and_named(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study("--recipes", "plus-head", "plus-imagenet", "plus-full-paste", "--seeds", "1") == 0
    said = capsys.readouterr().out
    assert "row plus-imagenet is left out: expected an ImageNet backbone, such as resnet50-19c8e357.pth" in said
    assert "row plus-full-paste is left out: expected a --source, from which it takes pictures" in said
    assert "- plus-imagenet: expected" in study.report()


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
def test_what_is_no_plan(study: SmallStudy, capsys: pytest.CaptureFixture[str], text: str, sentence: str) -> None:
    status = study("--plan", study.plan(text))
    assert (status, sentence in capsys.readouterr().err) == (1 if sentence else 0, True)


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
