import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tyro

from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import read_checkpoint, save_checkpoint
from training.command import TrainArguments, describe, summary, train
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
    with pytest.raises(ConfigurationError, match="data: expected") as caught:
        train(TrainArguments(data=(), out=tmp_path / "run"))
    assert caught.value.field == "data"


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("steps", -5), ("batch", 0), ("learning_rate", 0.0)])
def test_numbers_that_make_no_run(tmp_path: Path, name: str, value: float) -> None:
    asked: dict[str, Any] = {name: value}
    arguments = TrainArguments(data=(tmp_path / "none.json",), out=tmp_path / "run", **asked)
    with pytest.raises(ConfigurationError, match=f"{name}: expected a number above 0, but {value} came") as caught:
        train(arguments)
    assert caught.value.field == name
    assert not (tmp_path / "run").exists()


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json"):
        train(TrainArguments(data=(tmp_path / "none.json",), out=tmp_path / "run"))


def test_a_run_from_a_checkpoint_with_a_held_out_split(
    tmp_path: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, seeded_network(), step=7, data=["3 pictures: a park"])
    arguments = TrainArguments(
        data=(street,), out=out, held_out=street, source=with_info(street, description="a street"), start=start,
        steps=2, batch=1, workers=0, evaluate_every=1, device="cpu",
    )  # fmt: skip
    train(arguments)
    content = read_checkpoint(out / "last.pt")
    assert content["step"] == 2
    assert content["data"] == ["1 pictures: a street"] * 2 + ["before that: 7 steps on 3 pictures: a park"]
    assert content["config"]["size_hw"] == TINY.size_hw
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 1", "step 2"]
    assert lines[-1].endswith("on 1 pictures")


def test_a_data_set_says_what_it_is(street: Path) -> None:
    assert describe(street) == "1 pictures: instances.json"
    assert describe(with_info(street)) == "1 pictures: instances.json"
    assert describe(with_info(street, description="drawn streets")) == "1 pictures: drawn streets"
    generated = with_info(street, description="drawn streets", version="1", seed=7)
    assert describe(generated) == "1 pictures: drawn streets, version 1, seed 7"


def test_a_summary_is_one_line_in_percent() -> None:
    box = Precision(0.123, 0.3, 0.2, 0.1, 0.2, 0.3, {})
    mask = Precision(0.0456, 0.5, 0.2, 0.1, 0.2, 0.3, {})
    line = summary(40, Evaluation(box, mask, images=7, instances=9, absent_classes=()))
    assert line == "step 40: box AP 12.3, mask AP 4.6 (AP50 50.0) on 7 pictures"


def test_the_command_line_is_the_dataclass() -> None:
    arguments = tyro.cli(TrainArguments, args=["--data", "a.json", "b.json", "--out", "run", "--steps", "10"])
    assert arguments == TrainArguments(data=(Path("a.json"), Path("b.json")), out=Path("run"), steps=10)
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
        data=(street,), out=tmp_path / "run", held_out=street, source=street, start=start, steps=2, batch=2, workers=0,
        evaluate_every=2, device="cpu",
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
        train(TrainArguments(data=(street,), out=tmp_path / "run", start=start, device="cpu", **asked))


def test_another_batch_brings_its_schedule_and_says_so(
    tmp_path: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, seeded_network())
    arguments = TrainArguments(
        data=(street,), out=out, start=start, steps=1, batch=2, accumulate=2, workers=0, device="cpu",
        precision="float32", ema_decay=0.5,
    )  # fmt: skip
    train(arguments)
    said = capsys.readouterr().out
    assert "batch 2, where the recipe has 8: learning rate 0.000375 (the recipe's 0.0015), 1 steps (12000)" in said
    assert "each batch is learned by 1 processes in 2 parts of 1 pictures" in said
    assert "BatchNorm's statistics stay as they were stored; precision float32; device cpu" in said
    recipe = read_checkpoint(out / "last.pt")["recipe"]
    assert (recipe["batch"], recipe["steps"], recipe["warmup_steps"], recipe["ema_decay"]) == (2, 1, 800, 0.5)
    with pytest.raises(DataError, match=r"another recipe \(learning_rate 0\.000375 there, 0\.5 here\)"):
        train(replace(arguments, learning_rate=0.5))
