"""The sweep of frozen layers, on ten pictures and two steps."""

from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import pytest
import torch

from model.backbone_weights import backbone_tensors
from model.config import PRESETS
from model.weight_file import read_state
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from tests.training.one_step import imagenet_backbone
from tests.training.runs import log_of
from training.checkpoint import read_checkpoint, save_checkpoint
from training.command import TrainArguments
from training.convolutions import convolutions
from training.freeze_sweep import Sweep, page, points, recipe_for, report, starts_of
from training.layer_difference import PairDifferences
from training.study import RESULT, Result, Study
from training.study_plan import Plan, Row

STREET = replace(TINY, class_names=STREET_CLASSES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("target", "held-out"):
        boxes = [(8 * n, 8, 8 * n + 30, 50) for n in range(1, 11)]
        rows = [annotation(n, rle(rectangle(TINY.size_hw, box)), category_id=3) for n, box in enumerate(boxes, start=1)]
        write_coco(tmp_path / name, TINY.size_hw, 10, rows)
    return tmp_path


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Weights, and the same with a first convolution that has moved."""
    monkeypatch.setitem(PRESETS, "tiny", STREET)
    network = seeded_network(STREET)
    save_checkpoint(tmp_path / "base.pt", network, step=3, data=["a source"])
    network.get_parameter("backbone.conv1.weight").data[0] += 1.0
    save_checkpoint(tmp_path / "tuned.pt", network, step=9, data=["a target"])
    return f"{tmp_path / 'base.pt'}:{tmp_path / 'tuned.pt'}"


@pytest.fixture
def imagenet(pair: str, tmp_path: Path) -> str:
    """The same tuned weights, held against a backbone."""
    torch.save(dict(imagenet_backbone().state), tmp_path / "resnet.pth")
    return f"{tmp_path / 'resnet.pth'}:{tmp_path / 'tuned.pt'}"


def test_a_sweep_of_no_steps_is_none() -> None:
    with pytest.raises(ConfigurationError, match="every: expected 1 or more, but 0 came"):
        Sweep(0, 5, (1,), "plus-full", {})


def test_it_trains_with_more_and_more_frozen_from_each_start_and_draws_that(
    pair: str, imagenet: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the backbone 20 convolutions can be frozen at most, of the whole network as many as are asked for."""
    words = ["--sweep", "--target", data / "target", "--held-out", data / "held-out", "--preset", "tiny"]
    words += ["--steps", "2", "--batch", "2"]
    words += ["--workers", "0", "--seeds", "1", "--every", "12", "--most", "24", "--evaluate-every", "0"]
    assert main(["layers", pair, imagenet, "--out", str(tmp_path / "out"), *map(str, words)]) == 0
    assert "\n| base | 24 | " in capsys.readouterr().out
    rows = {path.parent.parent.name: path.parent for path in (tmp_path / "out").glob("*/seed-1/last.pt")}
    begun = {
        "base": read_checkpoint(tmp_path / "base.pt")["model"],
        "resnet": backbone_tensors(read_state(tmp_path / "resnet.pth")).state,
    }
    names = convolutions(begun["base"])
    frozen = {}
    for row, folder in rows.items():
        model, before = read_checkpoint(folder / "last.pt")["model"], begun[row.partition(",")[0]]
        frozen[row] = [
            name for name in names if f"{name}.weight" in before
            and torch.equal(model[f"{name}.weight"], before[f"{name}.weight"])
        ]  # fmt: skip
    assert frozen == {
        "base, none": [],
        "base, first 12": [*names[:12]],
        "base, first 24": [*names[:24]],
        "resnet, none": [],
        "resnet, first 12": [*names[:12]],
    }
    assert len(log_of(rows["base, none"])) >= 2
    assert cv2.imread(str(tmp_path / "out" / "sweep.png")) is not None


def result(row: str, seed: int, mask: float) -> Result:
    return Result(row, seed, 2, 1.0, (), {"box": {"ap": mask / 2}, "mask": {"ap": mask}})


def swept(folder: Path, counts: dict[str, range], masks: dict[str, list[float]]) -> Study:
    """A study of these starts and counts, with finished runs of these masks' AP, a figure a seed."""
    rows = {
        f"{start}, first {count}" if count else f"{start}, none": Row("plus-full", start=start, freeze_first=count)
        for start, every in counts.items()
        for count in every
    }
    base = TrainArguments(target=(), out=folder, held_out=folder)
    study = Study(Plan(rows, (1, 2, 3)), {start: folder for start in counts}, base)
    for row, figures in masks.items():
        for seed, mask in enumerate(figures, 1):
            path = study.folder((row, seed)) / RESULT
            path.parent.mkdir(parents=True)
            path.write_bytes(msgspec.json.encode(result(row, seed, mask)))
    return study


def test_the_points_of_the_plot_are_means_over_seeds_of_what_is_finished(tmp_path: Path) -> None:
    masks = {"a, none": [0.2, 0.3, 0.4], "a, first 5": [0.1], "b, first 5": [0.5, 0.7]}
    study = swept(tmp_path, {"a": range(0, 11, 5), "b": range(0, 6, 5)}, masks)
    assert points(study, study.results(), "a") == [(0, [20.0, 30.0, 40.0]), (5, [10.0])]
    assert points(study, study.results(), "b") == [(5, [50.0, 70.0])]
    assert report(study) == [tmp_path / "sweep.md", tmp_path / "sweep.png"]


def test_each_count_is_held_against_none_frozen_of_its_own_start(tmp_path: Path) -> None:
    """Not against other counts and starts, nor against what is published of the recipe."""
    masks = {
        "a, none": [0.30, 0.31, 0.32], "a, first 5": [0.30, 0.32, 0.31], "a, first 10": [0.10, 0.11, 0.12],
        "b, none": [0.50, 0.51, 0.52], "b, first 5": [0.60, 0.62, 0.61],
    }  # fmt: skip
    study = swept(tmp_path, {"a": range(0, 11, 5), "b": range(0, 6, 5), "c": range(1)}, masks)
    told = page(study, study.results())
    assert "| start | first frozen | box AP | mask AP | seeds |" in told
    assert "\n| a | 10 | 5.5 ± 0.5 | 11.0 ± 1.0 | 3 |\n" in told
    assert "\n3 of 18 runs are not finished.\n" in told
    by_mask = told.partition("## By mask AP")[2]
    assert "From a 1 of 2 counts differ from none frozen" in by_mask
    assert "From b 1 of 1 counts differ from none frozen" in by_mask
    assert "From c there is nothing to compare yet." in by_mask
    assert [line.partition(" by ")[0] for line in by_mask.splitlines() if line.startswith("- ")] == [
        "- a, none is above a, first 10", "- b, first 5 is above b, none"
    ]  # fmt: skip
    assert "published" not in told


def test_what_a_seed_does_to_all_counts_is_no_noise_between_them(tmp_path: Path) -> None:
    """But where a count lacks a seed its figures do not stand beside the others'."""
    masks = {"a, none": [0.30, 0.20, 0.25], "a, first 5": [0.26, 0.16, 0.211]}
    study = swept(tmp_path / "whole", {"a": range(0, 6, 5)}, masks)
    told = page(study, study.results())
    assert told.count("1 of 1 counts differ") == 2
    assert told.count("chance of seeds alone, less what a seed does to all of them, the rest taken as equal") == 2
    masks["a, first 5"].pop()
    study = swept(tmp_path / "part", {"a": range(0, 6, 5)}, masks)
    told = page(study, study.results())
    assert told.count("0 of 1 counts differ") == 2
    assert told.count("chance of seeds alone, not of") == 2


def test_with_one_seed_nothing_is_told_from_chance(tmp_path: Path) -> None:
    study = swept(tmp_path, {"a": range(0, 6, 5)}, {"a, none": [0.3], "a, first 5": [0.1]})
    assert page(study, study.results()).count("From a no difference can be told from chance: ") == 2


def test_of_nothing_finished_there_is_no_picture(tmp_path: Path) -> None:
    assert report(swept(tmp_path, {"a": range(1)}, {})) == [tmp_path / "sweep.md"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["b.pt", "a.pth", "b.pt"], ["b", "a"]),
        (["last.pt", "last.safetensors"], ["last", "last.safetensors"]),
        (["model-1.5", "model-1.6"], ["model-1.5", "model-1.6"]),
        (["x/last.pt", "y/last.pt"], ["x last", "y last"]),
        (["x/a.pt", "x a.pt", "x a"], ["a", "x a", "x a 2"]),
        (["runs/day/last.pt", "models/street/1/checkpoint.pt"], ["day last", "street 1 checkpoint"]),
        (["runs/day/seed-1/best.pt"], ["day seed-1 best"]),
    ],
)
def test_starts_have_names_of_their_own_in_the_order_of_the_pairs(paths: list[str], names: list[str]) -> None:
    starts = starts_of([PairDifferences(Path(path), Path("tuned.pt"), ()) for path in paths])
    assert list(starts) == names
    assert list(starts.values()) == [Path(path) for path in dict.fromkeys(paths)]


def test_each_start_has_the_recipe_of_its_kind(pair: str, imagenet: str, tmp_path: Path) -> None:
    network, backbone = (Path(each.partition(":")[0]) for each in (pair, imagenet))
    for family in ("plus", "yolact"):
        for named in (f"{family}-full", f"{family}-imagenet"):
            assert recipe_for(named, network) == f"{family}-full"
            assert recipe_for(named, backbone) == f"{family}-imagenet"
    assert recipe_for("plus-head", backbone) == "plus-head"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--most", "0"], "most: expected 1 to 40, the network's convolutions, but 0 came"),
        (["--most", "41"], "most: expected 1 to 40, the network's convolutions, but 41 came"),
        (["--recipe", "plus-head"], "start: this recipe begins with a network trained on COCO or the like, but "),
        (["--recipe", "yolact-untrained"], "recipe: expected one that trains, but 'yolact-untrained' came"),
        (["--recipe", "plus-full-paste"], "source: plus-full-paste takes pictures from a second data set: name it"),
        (["--source", "none.json"], "has no use for a second data set: leave it away"),
        (["--recipe", "nano", "--source", "none.json"], "none.json"),
    ],
)
def test_what_a_training_would_refuse_is_refused_before_the_first(
    pair: str, imagenet: str, data: Path, tmp_path: Path, words: list[str], sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    common = ["--sweep", "--target", data / "target", "--held-out", data / "held-out", "--preset", "tiny"]
    common += ["--out", tmp_path / "out"]
    assert main(["layers", pair, imagenet, *map(str, (*common, *words))]) == 1
    assert sentence in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*/seed-1"))


def test_a_sweep_without_data_is_told_what_is_missing(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", pair, "--sweep"]) == 1
    assert "--target, --held-out, --out is missing" in capsys.readouterr().err
