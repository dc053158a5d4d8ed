from pathlib import Path

import cv2
import numpy as np
import pytest

from export.material import GENERATED, Material, PictureFolder, generated_scenes, picture_sets, scored_set
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.export.conftest import Published


def test_nothing_to_verify_on_is_told() -> None:
    with pytest.raises(ConfigurationError, match="scenes: expected 1 or more where neither --data nor --pictures"):
        Material(scenes=0)


@pytest.mark.parametrize(("field", "value"), [("scenes", -1), ("first", 0)])
def test_numbers_that_mean_nothing_are_told(field: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}: expected"):
        Material(**{field: value})  # type: ignore[arg-type]


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"has no pictures: expected files that end in \.jpg, \.jpeg, \.png"):
        PictureFolder(tmp_path)
    with pytest.raises(DataError, match=r"expected a folder of pictures at .*none, found none"):
        PictureFolder(tmp_path / "none")


def test_a_folder_gives_its_pictures_by_name_and_tells_the_broken_one(tmp_path: Path) -> None:
    (tmp_path / "in" / "looks.png").mkdir(parents=True)
    for name, grey in (("in/b.PNG", 20), ("a.png", 10)):
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.full((16, 20, 3), grey, np.uint8))[1].tobytes())
    (tmp_path / "in" / "c.jpg").write_bytes(b"none")
    folder = PictureFolder(tmp_path)
    assert len(folder) == 3
    assert [int(folder.picture(index).max()) for index in (0, 1)] == [10, 20]
    assert folder.picture(0).shape == (16, 20, 3)
    with pytest.raises(DataError, match=r"c\.jpg is no picture"):
        folder.picture(2)


def test_ap_is_measured_on_the_first_data_set_else_on_generated_scenes(published: Published, tmp_path: Path) -> None:
    material = Material(1, [("rectangles", published.data)], published.data.parent / "images", first=2)
    sets = picture_sets(material, STREET_CLASSES, 50, tmp_path)
    assert [(each.name, len(each.pictures)) for each in sets] == [
        (GENERATED, 1),
        ("rectangles", 2),
        (str(published.data.parent / "images"), 3),
    ]
    assert scored_set(sets) is sets[1]
    assert scored_set([sets[0], sets[2]]) is sets[0]
    assert scored_set(sets[2:]) is None


def test_scenes_have_labels_of_the_classes_that_the_model_knows(tmp_path: Path) -> None:
    labelled = generated_scenes(1, ("cup", "car"), tmp_path / "cars").labelled
    assert labelled is not None
    assert {label.class_index for label in labelled.labels(0)} <= {1}
    assert generated_scenes(1, ("cup",), tmp_path / "cups").labelled is None
