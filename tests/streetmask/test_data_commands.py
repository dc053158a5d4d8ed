"""``streetmask data check`` and ``data convert``, as they are typed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from streetmask.cli import main
from tests.training.cityscapes_on_disk import block, frame_of, write_polygons
from tests.training.coco_on_disk import annotation, disc, rle, write_coco
from training.data.location import open_dataset

SIZE = (40, 60)


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def street(tmp_path: Path) -> Path:
    rows = [annotation(1, rle(disc(SIZE, (20, 20), 9))), annotation(2, [[5.0, 5.0, 30.5, 8.0, 20.0, 30.0]], 1)]
    return write_coco(tmp_path / "street", SIZE, 2, rows).parent


def test_checking_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", tmp_path / "none") == 1
    assert "expected a data set at" in capsys.readouterr().err


def test_a_good_set_passes(street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", street, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{street / 'instances.json'}: 2 pictures, 2 instances"
    assert lines[-2] == "no findings that would hurt training"
    assert json.loads(lines[-1])["errors"] == 0


def test_a_set_that_would_hurt_fails_and_says_where(street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        (street / f"images/{number}.png").unlink()
    assert run("data", "check", street / "instances.json") == 1
    lines = capsys.readouterr().out.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == [f"error: {street}/images/{n}.png: expected a picture here, found none" for n in (1, 2)]
    assert lines[-1] == "2 findings that would hurt training"


def test_all_splits_of_cityscapes_or_one_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        write_polygons(frame_of(tmp_path, split=split), [block("car", (0, 0, 9, 9))])
    frame_of(tmp_path, split="val").picture.unlink()
    assert run("data", "check", f"{tmp_path}:train") == 0
    assert run("data", "check", tmp_path) == 1
    assert f"{tmp_path}:train+val: 2 pictures, 2 instances" in capsys.readouterr().out


def test_there_and_back(street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    city, again = tmp_path / "city", tmp_path / "again"
    assert run("data", "convert", street, city, "--to", "cityscapes", "--split", "val") == 0
    assert f"wrote {city}:val; 0 instances" in capsys.readouterr().out
    assert run("data", "convert", f"{city}:val", again, "--to", "coco") == 0
    assert f"wrote {again / 'instances.json'}" in capsys.readouterr().out
    shutil.rmtree(city)
    first, last = open_dataset(street), open_dataset(again)
    for index in range(2):
        np.testing.assert_array_equal(last[index].masks, first[index].masks)
        np.testing.assert_array_equal(last[index].image, first[index].image)
        assert last[index].classes.tolist() == first[index].classes.tolist()


def test_a_split_keeps_its_name_and_coco_has_none(street: Path, tmp_path: Path) -> None:
    assert run("data", "convert", street, tmp_path / "a", "--to", "cityscapes") == 0
    assert run("data", "convert", f"{tmp_path / 'a'}:train", tmp_path / "b", "--to", "cityscapes") == 0
    assert (tmp_path / "b/gtFine/train/streets").is_dir()
    assert run("data", "convert", street, tmp_path / "c", "--to", "coco", "--split", "val") == 1


def test_converting_onto_a_data_set(street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "convert", street, street, "--to", "coco") == 1
    assert f"{street / 'instances.json'} is there already" in capsys.readouterr().err
