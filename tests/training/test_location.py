from pathlib import Path

import pytest

from scene.errors import DataError
from tests.training.cityscapes_on_disk import frame_of, write_polygons
from tests.training.coco_on_disk import annotation, disc, rle, write_coco
from training.data.cityscapes import CityscapesDataset
from training.data.coco import CocoDataset
from training.data.location import labels_sha256, open_dataset, picture_count

SIZE = (40, 60)


def test_nothing_is_there(tmp_path: Path) -> None:
    for name in ("none.json", "none", "none:val", ""):
        with pytest.raises(DataError, match=r"expected a data set at .*name a COCO JSON, a folder with"):
            open_dataset(tmp_path / name)


def test_a_coco_json_and_the_folder_that_holds_it(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 2, [])
    for name in (path, tmp_path):
        data = open_dataset(name, ("car", "person"))
        assert isinstance(data, CocoDataset)
        assert (len(data), data.class_names) == (2, ("car", "person"))


def test_cocos_own_layout(tmp_path: Path) -> None:
    """``annotations/instances_val2017.json``, whose pictures are named without a folder and lie in ``val2017/``."""
    path = write_coco(tmp_path / "made", SIZE, 1, [annotation(1, rle(disc(SIZE, (20, 20), 9)))])
    text = path.read_text().replace('"images/1.png"', '"1.png"')
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/annotations/instances_val2017.json").write_text(text)
    (tmp_path / "made/images").rename(tmp_path / "coco/val2017")
    for name in ("coco:val2017", "coco/annotations/instances_val2017.json"):
        assert len(open_dataset(tmp_path / name)[0].check()) == 1


def test_cityscapes_splits(tmp_path: Path) -> None:
    write_polygons(frame_of(tmp_path, split="train"), [])
    assert isinstance(open_dataset(tmp_path), CityscapesDataset)
    write_polygons(frame_of(tmp_path, split="val"), [])
    data = open_dataset(Path(f"{tmp_path}:val"), ("car", "person"))
    assert isinstance(data, CityscapesDataset)
    assert (data.split, data.class_names) == ("val", ("car", "person"))
    with pytest.raises(DataError, match=rf"has several splits; name one of {tmp_path}:train, {tmp_path}:val"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no pictures of the split 'test'"):
        open_dataset(Path(f"{tmp_path}:test"))


def test_pictures_are_counted_without_knowing_their_classes(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", SIZE, 3, [annotation(1, rle(disc(SIZE, (20, 20), 9)))])
    assert picture_count(tmp_path / "coco") == len(open_dataset(tmp_path / "coco")) == 3
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "aachen")):
        write_polygons(frame_of(tmp_path / "city", split=split, city=city), [])
    assert [picture_count(Path(f"{tmp_path}/{name}")) for name in ("city", "city:train", "city:val")] == [3, 2, 1]


def test_an_empty_layout_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "gtFine").mkdir()
    with pytest.raises(DataError, match="expected a data set"):
        open_dataset(tmp_path)


def test_labels_are_the_same_wherever_they_lie_until_one_is_another(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "coco", SIZE, 2, [])
    found = labels_sha256(path)
    assert found == labels_sha256(tmp_path / "coco" / ".." / "coco")
    path.write_text(path.read_text() + " ")
    assert found != labels_sha256(path)
    for name in ("one", "two"):
        write_polygons(frame_of(tmp_path / name, split="val"), [])
    found = labels_sha256(Path(f"{tmp_path}/one:val"))
    assert found == labels_sha256(tmp_path / "two")
    truth = frame_of(tmp_path / "two", split="val").polygons
    truth.write_text(truth.read_text() + " ")
    assert found != labels_sha256(tmp_path / "two")
