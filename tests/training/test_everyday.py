"""Everyday views: refused settings, determinism, statistics, labels, the written data set."""

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from scene.classes import COCO_CLASSES, EVERYDAY_CLASSES, STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.training.drawn_pictures import fingerprint, pasted
from training.data.drawn import Drawn, SceneInstance
from training.data.everyday import VERSION, EverydaySettings, view, write_views
from training.data.synthetic import SceneSettings, scene
from training.data.synthetic_writer import picture_seed

SMALL = EverydaySettings(height=120, width=160)
VIEWS = 500


@cache
def many() -> tuple[Drawn, ...]:
    return tuple(view(seed, SMALL) for seed in range(VIEWS))


def found() -> list[SceneInstance]:
    return [item for made in many() for item in made.instances]


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"count": 0}, "count"), ({"count": -3}, "count"), ({"seed": -1}, "seed"), ({"workers": 0}, "workers")],
)
def test_impossible_data_set_is_refused_before_anything_is_written(
    tmp_path: Path, changed: dict[str, int], field: str
) -> None:
    wanted = {"count": 1, "seed": 0, "workers": 1} | changed
    folder = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="expected") as caught:
        write_views(folder, wanted["count"], wanted["seed"], SMALL, wanted["workers"])
    assert caught.value.field == field
    assert not folder.exists()


@pytest.mark.parametrize(("height", "width", "field"), [(0, 512, "height"), (256, 63, "width"), (9000, 512, "height")])
def test_impossible_frame_size_is_refused(height: int, width: int, field: str) -> None:
    with pytest.raises(ConfigurationError, match="expected 64 to 8192 pixels") as caught:
        EverydaySettings(height, width)
    assert caught.value.field == field


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="seed: expected 0 or more"):
        view(-1, SMALL)


def test_folder_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    occupied = tmp_path / "taken"
    occupied.write_text("not a folder", encoding="utf-8")
    with pytest.raises(DataError, match="taken"):
        write_views(occupied, 1, 0, SMALL)


def test_classes_are_cocos_with_those_of_the_street_and_no_rider() -> None:
    assert 20 <= len(EVERYDAY_CLASSES) == len(set(EVERYDAY_CLASSES)) <= 24
    assert [name for name in COCO_CLASSES if name in EVERYDAY_CLASSES] == list(EVERYDAY_CLASSES)
    assert set(STREET_CLASSES) - set(EVERYDAY_CLASSES) == {"rider"}


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 200), (300, 120), (91, 333), (720, 1280)])
def test_any_size_gives_a_full_picture(height: int, width: int) -> None:
    for seed in range(3):
        made = view(seed, EverydaySettings(height, width))
        assert made.image.shape == (height, width, 3)
        assert made.image.dtype == np.uint8
        assert made.image.std() > 5


def test_same_seed_gives_the_same_view_and_others_differ() -> None:
    assert fingerprint(view(11, SMALL)) == fingerprint(view(11, SMALL))
    assert len({fingerprint(made) for made in many()}) == VIEWS


def test_view_does_not_depend_on_process_or_on_what_was_made_before() -> None:
    program = (
        "from tests.training.drawn_pictures import fingerprint\n"
        "from tests.training.test_everyday import SMALL\n"
        "from training.data.everyday import view\n"
        "print(*[fingerprint(view(seed, SMALL)) for seed in (17, 4)], sep='\\n')\n"
    )
    root = Path(__file__).parents[2]
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert there.stdout.splitlines() == [fingerprint(many()[17]), fingerprint(many()[4])]


def test_a_street_and_a_view_of_one_seed_share_nothing() -> None:
    street = scene(5, SceneSettings(SMALL.height, SMALL.width))
    assert not np.array_equal(street.image, view(5, SMALL).image)


def test_views_hold_few_things_of_which_most_are_large() -> None:
    counts = np.array([len(made.instances) for made in many()])
    heights = np.array([item.mask.shape[0] / SMALL.height for item in found()])
    assert 2.2 <= counts.mean() <= 2.8
    assert counts.max() <= 5
    assert np.mean(counts == 0) < 0.01
    assert np.mean((heights >= 0.1) & (heights <= 0.6)) > 0.8
    assert 0.2 < np.median(heights) < 0.45


def test_all_classes_are_about_equally_common() -> None:
    counts = Counter(EVERYDAY_CLASSES[item.class_index] for item in found())
    mean = len(found()) / len(EVERYDAY_CLASSES)
    assert set(counts) == set(EVERYDAY_CLASSES)
    assert 0.55 * mean < min(counts.values()) <= max(counts.values()) < 1.6 * mean, counts


def test_some_things_are_hidden_in_part_and_some_cut_by_the_border() -> None:
    hidden = np.mean([item.occlusion > 0.05 for item in found()])
    cut = np.mean([_at_border(item) for item in found()])
    assert 0.1 < hidden < 0.4
    assert 0.2 < cut < 0.5


def _at_border(item: SceneInstance) -> bool:
    x0, y0, x1, y1 = item.box_xyxy
    return x0 == 0 or y0 == 0 or x1 == SMALL.width or y1 == SMALL.height


def test_those_who_ride_are_persons_on_their_machines() -> None:
    person = EVERYDAY_CLASSES.index("person")
    machines = {EVERYDAY_CLASSES.index(name) for name in ("bicycle", "motorcycle")}
    pairs = 0
    for made in many():
        by_id = {item.track_id: item for item in made.instances}
        for item in made.instances:
            machine = by_id.get(item.track_id - 1)
            if item.track_id % 2 == 0 and machine is not None:
                assert (item.class_index, machine.class_index in machines) == (person, True)
                a, b = item.box_xyxy, machine.box_xyxy
                pairs += a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
    assert pairs >= 5


def test_views_differ_in_light_and_colour() -> None:
    means = np.array([made.image.mean(axis=(0, 1)) for made in many()])
    assert (means.std(axis=0) > 15).all()


def test_masks_are_disjoint_and_boxes_tight_and_inside() -> None:
    size_hw = (SMALL.height, SMALL.width)
    for made in many():
        taken = np.zeros(size_hw, int)
        for item in made.instances:
            x0, y0, x1, y1 = item.box_xyxy
            assert 0 <= x0 < x1 <= SMALL.width and 0 <= y0 < y1 <= SMALL.height
            assert item.mask.shape == (y1 - y0, x1 - x0)
            assert item.mask[0].any() and item.mask[-1].any() and item.mask[:, 0].any() and item.mask[:, -1].any()
            taken += pasted(item, size_hw)
        assert taken.max(initial=0) <= 1


def test_nothing_tiny_or_all_hidden_is_labelled() -> None:
    least = SMALL.smallest_area * SMALL.height * SMALL.width / (480 * 640)
    for item in found():
        assert least <= item.visible_area <= item.full_area
        assert 0.0 <= item.occlusion <= SMALL.most_occlusion


def test_stricter_settings_drop_labels_and_keep_pixels() -> None:
    strict = EverydaySettings(SMALL.height, SMALL.width, smallest_area=20_000.0)
    for seed in range(20):
        loose, tight = many()[seed], view(seed, strict)
        assert np.array_equal(loose.image, tight.image)
        assert {item.track_id for item in tight.instances} <= {item.track_id for item in loose.instances}
    assert sum(len(view(seed, strict).instances) for seed in range(20)) < sum(len(m.instances) for m in many()[:20])


def test_written_data_set_is_cocos_and_gives_the_masks_back(tmp_path: Path) -> None:
    steps: list[int] = []
    path = write_views(tmp_path, 4, 21, SMALL, progress=steps.append)
    assert steps == [1, 2, 3, 4]
    coco = COCO(str(path))
    categories = coco.loadCats(coco.getCatIds())
    assert [(row["id"], row["name"]) for row in categories] == list(enumerate(EVERYDAY_CLASSES, start=1))
    for index, image in enumerate(coco.loadImgs(sorted(coco.getImgIds()))):
        made = view(picture_seed(VERSION, 21, index), SMALL)
        rows = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert len(rows) == len(made.instances)
        for row, item in zip(rows, made.instances, strict=True):
            assert np.array_equal(coco.annToMask(row).astype(bool), pasted(item, (SMALL.height, SMALL.width)))
            assert row["category_id"] == item.class_index + 1
            assert row["area"] == item.visible_area == int(rle.area(row["segmentation"]))
            assert row["bbox"] == rle.toBbox(row["segmentation"]).tolist()
            assert row["occlusion"] == pytest.approx(item.occlusion, abs=1e-4)
        read = np.asarray(cv2.imread(str(tmp_path / "images" / image["file_name"])))[:, :, ::-1]
        assert read.shape == (image["height"], image["width"], 3) == (SMALL.height, SMALL.width, 3)
        assert np.abs(read.astype(int) - made.image).mean() < 12


def test_number_of_workers_does_not_matter(tmp_path: Path) -> None:
    one = write_views(tmp_path / "one", 5, 2, SMALL, workers=1)
    two = write_views(tmp_path / "two", 5, 2, SMALL, workers=2)
    assert one.read_bytes() == two.read_bytes()
    document = json.loads(one.read_text(encoding="utf-8"))
    assert (document["info"]["version"], document["info"]["seed"]) == (VERSION, 2)
    for image in document["images"]:
        pictures = [tmp_path / name / "images" / image["file_name"] for name in ("one", "two")]
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
