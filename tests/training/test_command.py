import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro
from torch.utils.data import ConcatDataset

from model.config import PRESETS
from scene.classes import COCO_CLASSES, STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.cityscapes_on_disk import block, frame_of, write_polygons
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import read_checkpoint, save_checkpoint
from training.cityscapes_ap import CityscapesPrecision
from training.command import TrainArguments, prepare, summary, train
from training.convolutions import convolutions
from training.data.coco import CocoDataset
from training.data.dataset import describe
from training.data.mixing import COCO_1000
from training.evaluate import Evaluation, Precision
from training.losses import losses
from training.recipes import RECIPES


@pytest.fixture
def street(tmp_path: Path) -> Path:
    rows = [annotation(1, rle(rectangle(TINY.size_hw, (10, 8, 60, 50))), category_id=3)]
    return write_coco(tmp_path / "street", TINY.size_hw, 1, rows)


def with_info(path: Path, **info: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), "info": info}))
    return path


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="target: expected") as caught:
        train(TrainArguments(target=(), out=tmp_path / "run"))
    assert caught.value.field == "target"


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("steps", -5), ("batch", 0), ("learning_rate", 0.0)])
def test_numbers_that_make_no_run(tmp_path: Path, name: str, value: float) -> None:
    asked: dict[str, Any] = {name: value}
    arguments = TrainArguments(target=(tmp_path / "none.json",), out=tmp_path / "run", **asked)
    with pytest.raises(ConfigurationError, match=f"{name}: expected a number above 0, but {value} came") as caught:
        train(arguments)
    assert caught.value.field == name
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"gamma": 1.0}, "class_loss: expected a focal loss, as alpha and gamma are given, but 'ohem' came"),
        ({"beta": 0.0}, "class_loss: expected focal-star, as beta is given, but 'ohem' came"),
        ({"class_loss": "focal", "beta": 0.0}, "class_loss: expected focal-star, as beta is given, but 'focal' came"),
        ({"class_loss": "focal-star", "beta": math.nan}, "beta: expected a number, but nan came"),
        ({"class_loss": "focal-star", "gamma": 0.0}, "gamma: expected a number above 0, by which focal-star divides"),
    ],
)
def test_figures_that_the_loss_does_not_have(tmp_path: Path, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        train(TrainArguments(target=(tmp_path / "none.json",), out=tmp_path / "run", **asked))


@pytest.mark.parametrize("name", ["seed", "workers", "threads", "checkpoint_every", "evaluate_every", "freeze_first"])
def test_numbers_below_nothing(tmp_path: Path, name: str) -> None:
    asked: dict[str, Any] = {name: -1}
    with pytest.raises(ConfigurationError, match=f"{name}: expected 0 or more, but -1 came"):
        train(TrainArguments(target=(tmp_path / "none.json",), out=tmp_path / "run", **asked))


def test_a_batch_that_leaves_no_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="batch: expected one with which the recipe's 12000 steps leave any"):
        train(TrainArguments(target=(tmp_path / "none.json",), out=tmp_path / "run", batch=10**7))


def test_another_loss_and_augmentation_than_the_recipes(
    tmp_path: Path, street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "street-nano", TINY)
    train(
        TrainArguments(
            target=(street,), out=tmp_path / "run", steps=1, batch=1, workers=0, device="cpu",
            class_loss="sigmoid-focal", jitter=True,
        )
    )  # fmt: skip
    content = read_checkpoint(tmp_path / "run/last.pt")
    assert content["recipe"]["losses"]["classes"]["kind"] == "sigmoid-focal"
    assert content["recipe"]["augmentation"]["jitter"] == (0.1, 2.0)
    assert content["config"]["scoring"] == "sigmoid"


@pytest.mark.parametrize("crowd", [False, True])
def test_data_without_an_object(tmp_path: Path, street: Path, crowd: bool) -> None:
    rows = [annotation(1, rle(rectangle(TINY.size_hw, (1, 1, 9, 9))), 3, iscrowd=1)] if crowd else []
    empty = write_coco(tmp_path / "empty", TINY.size_hw, 2, rows)
    for target, held_out in (((street, empty), None), ((street,), empty)):
        arguments = TrainArguments(target=target, held_out=held_out, out=tmp_path / "run", device="cpu", steps=1)
        with pytest.raises(DataError, match=rf"{empty} has no object of any of the classes .* in its 2 pictures"):
            train(arguments)
    assert not (tmp_path / "run").exists()


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json"):
        train(TrainArguments(target=(tmp_path / "none.json",), out=tmp_path / "run"))


def test_a_run_from_a_checkpoint_with_a_held_out_split(
    tmp_path: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, seeded_network(), step=7, data=["3 pictures: a park"])
    arguments = TrainArguments(
        target=(street,), out=out, held_out=street, source=with_info(street, description="a street"), start=start,
        steps=2, batch=1, workers=0, evaluate_every=1, device="cpu", size="160x128",
    )  # fmt: skip
    train(arguments)
    content = read_checkpoint(out / "last.pt")
    assert content["step"] == 2
    assert content["data"] == ["1 pictures: a street"] * 2 + ["before that: 7 steps on 3 pictures: a park"]
    assert content["config"]["size_hw"] == (128, 160)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 1", "step 2"]
    assert lines[-1].endswith("on 1 pictures")


def test_a_row_of_the_study_with_one_command(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published weights, a folder to train for, a folder mixed in."""
    monkeypatch.setitem(PRESETS, "street-yolact-plus-resnet50", TINY)
    row = RECIPES["plus-full-coco1000"]
    monkeypatch.setitem(RECIPES, "plus-full-coco1000", replace(row, mixing=replace(COCO_1000, count=1)))
    trams = [annotation(1, rle(rectangle(TINY.size_hw, (10, 8, 60, 50))), category_id=6)]
    source, start, out = tmp_path / "source", tmp_path / "tiny_54_800000.pth", tmp_path / "run"
    write_coco(source, TINY.size_hw, 1, trams)
    torch.save(seeded_network(replace(TINY, class_names=COCO_CLASSES)).state_dict(), start)
    words = ["--recipe", "plus-full-coco1000", "--target", street.parent, "--source", source, "--start", start]
    words += ["--out", out, "--steps", 1, "--batch", 2, "--workers", 0, "--device", "cpu"]
    assert main(["train", *map(str, words)]) == 0
    printed = capsys.readouterr().out
    assert "recipe plus-full-coco1000: everything, with 1000 COCO pictures without cars and persons; 1 steps" in printed
    assert "rows of the background, person, rider from person, car" in printed
    assert "frozen: nothing\nnew: nothing\n" in printed
    content = read_checkpoint(out / "last.pt")
    assert content["step"] == 1
    assert content["data"][2].startswith("before that: whatever tiny_54_800000.pth (SHA-256 ")


def test_a_head_alone_trains_on_a_network_that_is_frozen(street: Path, tmp_path: Path) -> None:
    start, out = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, seeded_network())
    train(
        TrainArguments(
            target=(street,), out=out, start=start, recipe="plus-head", steps=2, batch=2, workers=0, device="cpu"
        )
    )
    content, original = read_checkpoint(out / "last.pt"), seeded_network().state_dict()
    changed = {name for name, tensor in content["model"].items() if not torch.equal(tensor, original[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"prediction_layers"}
    assert len(content["optimiser"]["state"]) == 8, "two tensors of each of the head's four layers"


def test_a_row_that_trains_nothing_says_what_to_run(tmp_path: Path) -> None:
    arguments = TrainArguments(target=(Path("city"),), out=tmp_path / "run", recipe="yolact-untrained", steps=5)
    with pytest.raises(ConfigurationError, match=r"run `streetmask evaluate WEIGHTS --data city --classes street`"):
        train(arguments)
    named = replace(arguments, start=Path("yolact.pth"), held_out=Path("val"))
    with pytest.raises(ConfigurationError, match=r"run `streetmask evaluate yolact.pth --data val --classes street`"):
        train(named)


def test_a_schedule_is_a_recipe_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"schedule: expected a name that .* lists, but 'slow' came"):
        train(TrainArguments(target=(tmp_path,), out=tmp_path / "run", schedule="slow"))


@pytest.mark.parametrize(
    ("recipe", "source", "sentence"),
    [
        ("plus-full-coco1000", None, "source: plus-full-coco1000 takes pictures from a second data set: name it"),
        ("plus-full-paste", None, "source: plus-full-paste takes"),
        (
            "plus-full",
            Path("coco"),
            "source: plus-full has no use for .* or take one of plus-full-coco1000, plus-full-",
        ),
        ("best", None, "recipe: expected a name that `streetmask train recipes` lists, but 'best' came"),
    ],
)
def test_a_recipe_and_its_source(tmp_path: Path, recipe: str, source: Path | None, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        train(TrainArguments(target=(tmp_path,), out=tmp_path / "run", recipe=recipe, source=source))
    assert not (tmp_path / "run").exists()


def test_fewer_pictures_are_a_part_of_more(tmp_path: Path) -> None:
    box = rle(rectangle(TINY.size_hw, (10, 8, 60, 50)))
    rows = [annotation(image_id, box, category_id=3) for image_id in range(1, 7)]
    arguments = TrainArguments(
        target=(write_coco(tmp_path / "street", TINY.size_hw, 6, rows),), out=tmp_path / "run", steps=1, device="cpu"
    )

    def used(count: int | None) -> set[int]:
        pool = prepare(replace(arguments, target_pictures=count, seed=count or 1)).pictures.pool
        assert isinstance(pool, ConcatDataset)
        return {pool.datasets[0].image_id(index) for index in range(len(pool))}  # type: ignore[attr-defined]

    assert used(None) == used(6) == set(range(1, 7))
    assert [len(used(count)) for count in (2, 4)] == [2, 4]
    assert used(2) < used(4)
    for wrong in (0, 7):
        with pytest.raises(ConfigurationError, match=f"target_pictures: expected 1 to the 6 that .* has, but {wrong}"):
            used(wrong)


def test_the_recipes_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "recipes"]) == 0
    _, *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert lines[list(RECIPES).index("yolact-untrained")].split()[1:3] == ["0.76", "14.5"]
    assert lines[list(RECIPES).index("plus-untrained")].split()[1] == "a", "there is no published figure"
    assert all(recipe.summary in line for line, recipe in zip(lines, RECIPES.values(), strict=True))
    assert "the reference study" in last


def test_a_run_on_splits_of_cityscapes_layout(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_polygons(frame_of(tmp_path / "city", split=split), [block("car", (10, 8, 60, 50))], TINY.size_hw)
    start = tmp_path / "start.pt"
    save_checkpoint(start, seeded_network())
    arguments = TrainArguments(
        target=(Path(f"{tmp_path / 'city'}:train"),), held_out=Path(f"{tmp_path / 'city'}:val"), out=tmp_path / "run",
        start=start, steps=1, batch=1, workers=0, evaluate_every=1, device="cpu",
    )  # fmt: skip
    train(arguments)
    data = read_checkpoint(tmp_path / "run/last.pt")["data"]
    assert data[0] == "1 pictures: train of city (Cityscapes' layout)"


def test_a_data_set_says_what_it_is(street: Path) -> None:
    assert describe(CocoDataset(street)) == "1 pictures: instances.json"
    assert describe(CocoDataset(with_info(street))) == "1 pictures: instances.json"
    assert describe(CocoDataset(with_info(street, description="drawn streets"))) == "1 pictures: drawn streets"
    generated = with_info(street, description="drawn streets", version="1", seed=7)
    assert describe(CocoDataset(generated)) == "1 pictures: drawn streets, version 1, seed 7"


def test_a_summary_is_one_line_in_percent() -> None:
    box = Precision(0.123, 0.3, 0.2, 0.1, 0.2, 0.3, {})
    mask = Precision(0.0456, 0.5, 0.2, 0.1, 0.2, 0.3, {})
    own = CityscapesPrecision(0.2, 0.4, {})
    line = summary(40, Evaluation(box, mask, own, images=7, instances=9, absent_classes=()))
    assert line == "step 40: box AP 12.3, mask AP 4.6 (AP50 50.0) on 7 pictures"


def test_the_command_line_is_the_dataclass() -> None:
    arguments = tyro.cli(TrainArguments, args=["--target", "a.json", "b.json", "--out", "run", "--steps", "10"])
    assert arguments == TrainArguments(target=(Path("a.json"), Path("b.json")), out=Path("run"), steps=10)
    assert arguments.recipe in RECIPES


@pytest.mark.parametrize("names", [("car", "person"), ("car", "a", "b", "c", "d", "e", "f", "g", "h", "person")])
def test_labels_are_numbered_as_the_network_numbers_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Whatever number the street gives a car: here it is the network's first class."""
    rows = [annotation(1, rle(rectangle(TINY.size_hw, (10, 8, 60, 50))), category_id=STREET_CLASSES.index("car") + 1)]
    street, start = write_coco(tmp_path / "street", TINY.size_hw, 1, rows), tmp_path / "start.pt"
    save_checkpoint(start, seeded_network(replace(TINY, class_names=names)))
    taught: list[int] = []

    def listening(*arguments: Any) -> Any:
        taught.extend(label for target in arguments[3] for label in target.classes.tolist())
        return losses(*arguments)

    monkeypatch.setattr("training.step.losses", listening)
    arguments = TrainArguments(
        target=(street,), out=tmp_path / "run", held_out=street, source=street, start=start, steps=2, batch=2,
        workers=0, evaluate_every=2, device="cpu",
    )  # fmt: skip
    train(arguments)
    assert taught
    assert set(taught) == {0}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("accumulate", 0, "above 0, but 0"), ("ema_decay", 1.0, "from 0 to below 1, but 1.0"), ("batch", 7, "a multiple")],
)
def test_numbers_that_no_step_can_take(tmp_path: Path, street: Path, name: str, value: float, words: str) -> None:
    asked: dict[str, Any] = {"accumulate": 2, name: value}
    start = tmp_path / "start.pt"
    save_checkpoint(start, seeded_network())
    with pytest.raises(ConfigurationError, match=words):
        train(TrainArguments(target=(street,), out=tmp_path / "run", start=start, device="cpu", **asked))


def test_another_batch_brings_its_schedule_and_says_so(
    tmp_path: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, seeded_network())
    arguments = TrainArguments(
        target=(street,), out=out, start=start, steps=1, batch=2, accumulate=2, workers=0, device="cpu",
        precision="float32", ema_decay=0.5,
    )  # fmt: skip
    train(arguments)
    said = capsys.readouterr().out
    assert "batch 2, where the recipe has 8: learning rate 0.000375 (the recipe's 0.0015), 1 steps (12000)" in said
    assert "each batch is learned by 1 processes in 2 parts of 1 pictures" in said
    assert "BatchNorm's statistics stay as they were stored; precision float32; device cpu" in said
    recipe = read_checkpoint(out / "last.pt")["recipe"]
    assert (recipe["batch"], recipe["steps"], recipe["warmup_steps"], recipe["ema_decay"]) == (2, 1, 0, 0.5)
    with pytest.raises(DataError, match=r"another recipe \(learning_rate 0\.000375 there, 0\.5 here\)"):
        train(replace(arguments, learning_rate=0.5))


def test_the_first_convolutions_stay_as_they_were(
    tmp_path: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, seeded_network())
    arguments = TrainArguments(
        target=(street,), out=out, start=start, steps=2, batch=1, workers=0, device="cpu", freeze_first=7
    )
    train(arguments)
    assert "frozen from the input side: the first 7 of 40 convolutions, backbone.conv1 to" in capsys.readouterr().out
    content, before = read_checkpoint(out / "last.pt"), seeded_network().state_dict()
    assert content["recipe"]["freeze_first"] == 7
    names = convolutions(before)
    same = [torch.equal(content["model"][f"{name}.weight"], before[f"{name}.weight"]) for name in names]
    assert same == [True] * 7 + [False] * 33
    with pytest.raises(DataError, match=r"another recipe \(freeze_first 7 there, 0 here\)"):
        train(replace(arguments, freeze_first=None))
    with pytest.raises(ConfigurationError, match="freeze_first: expected 0 to 40, the network's convolutions, but 41"):
        train(replace(arguments, freeze_first=41))
