import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scene.classes import STREET_CLASSES
from tests.training.cityscapes_on_disk import frame_of, write_ids
from tests.training.coco_on_disk import annotation, rectangle, rle
from training.cityscapes_ap import CityscapesPrecision, cityscapes_precision
from training.data.cityscapes import CityscapesDataset
from training.predictions import Prediction

GOLDEN = Path(__file__).parents[1] / "testdata" / "cityscapes" / "golden.npz"
CITYSCAPES_IDS = (24, 25, 26, 27, 28, 31, 32, 33)

SIZE = (40, 100)
CAR, TRUCK = 2, 3


def prediction(mask: NDArray[np.uint8], score: float, class_index: int = CAR, image_id: int = 1) -> Prediction:
    """Ranked by the mask's score alone: the box's says the contrary."""
    return Prediction(image_id, class_index, 1 - score, score, (0.0, 0.0, 1.0, 1.0), rle(mask))


def block(left: int, width: int = 20) -> NDArray[np.uint8]:
    """A rectangle ten pixels high."""
    return rectangle(SIZE, (left, 0, left + width, 10))


def score(
    predictions: list[Prediction], truths: list[dict[str, Any]], void: list[dict[str, Any]] | None = None
) -> CityscapesPrecision:
    return cityscapes_precision(predictions, {"annotations": truths, "void": void or []}, STREET_CLASSES)


def test_nothing_to_find_and_nothing_found() -> None:
    nothing = score([prediction(block(0), 0.9)], [])
    assert math.isnan(nothing.ap) and math.isnan(nothing.ap50) and nothing.by_class == {}
    missed = score([], [annotation(1, rle(block(0)))])
    assert (missed.ap, missed.ap50, list(missed.by_class)) == (0, 0, ["car"])


def test_an_object_below_100_pixels_is_nothing_to_find_and_no_mistake() -> None:
    small = [annotation(1, rle(block(0, width=9)))]
    assert math.isnan(score([prediction(block(0, width=9), 0.9)], small).ap)
    with_large = [*small, annotation(1, rle(block(50)))]
    assert score([prediction(block(0, width=9), 0.9), prediction(block(50), 0.5)], with_large).ap == 1


def test_a_mask_without_a_pixel_is_no_prediction() -> None:
    empty = prediction(block(0, width=0), 0.9)
    assert score([empty, prediction(block(50), 0.5)], [annotation(1, rle(block(50)))]).ap == 1
    assert score([empty], [annotation(1, rle(block(50)))]).ap == 0


@pytest.mark.parametrize(
    ("class_index", "on_region", "ap"),
    [(CAR, "group", 1), (TRUCK, "group", 0.25), (CAR, "void", 1), (TRUCK, "void", 1), (CAR, "road", 0.25)],
)
def test_a_group_excuses_its_class_and_void_every_class(class_index: int, on_region: str, ap: float) -> None:
    """A false positive before the only hit: precision 0 at recall 0, then 1/2 at recall 1, an area of 1/4."""
    region = annotation(1, rle(block(0, width=40)), iscrowd=1)
    crowds = [region] if on_region == "group" else []
    void = [{"image_id": 1, "segmentation": rle(block(0, width=40))}] if on_region == "void" else []
    truths = [annotation(1, rle(block(60)), category_id=class_index + 1), *crowds]
    found = [prediction(block(10), 0.9, class_index), prediction(block(60), 0.5, class_index)]
    assert score(found, truths, void).ap == pytest.approx(ap)


def test_an_overlap_and_an_excuse_must_exceed_their_threshold() -> None:
    """Half of an object is no hit at 0.50; what is half on void counts as wrong there, and then before the hit."""
    assert score([prediction(block(0, width=10), 0.9)], [annotation(1, rle(block(0)))]).ap50 == 0
    void = [{"image_id": 1, "segmentation": rle(block(0, width=10))}]
    found = [prediction(block(0), 0.9), prediction(block(60), 0.5)]
    assert score(found, [annotation(1, rle(block(60)))], void).ap50 == pytest.approx(0.25)


def test_cityscapes_own_program_says_the_same(tmp_path: Path) -> None:
    """Of the same pictures of instance ids, with groups in several parts, caravans and void."""
    golden = np.load(GOLDEN)
    for number, labels in enumerate(golden["labels"]):
        write_ids(frame_of(tmp_path, number), labels.astype(np.uint16))
    data = CityscapesDataset(tmp_path, "train")
    found = predictions_of(golden)
    assert (sum(len(data.labels(index)) for index in range(len(data))), len(found)) == (182, 368)
    ours = cityscapes_precision(found, data.ground_truth, STREET_CLASSES)
    np.testing.assert_allclose([ours.ap, ours.ap50], golden["all_classes"], rtol=0, atol=1e-12)
    for name, (ap, ap50) in zip(STREET_CLASSES, golden["each_class"], strict=True):
        if math.isnan(ap):
            assert name not in ours.by_class
        else:
            assert (ours.by_class[name].ap, ours.by_class[name].ap50) == pytest.approx((ap, ap50), abs=1e-12)


def predictions_of(golden: Any) -> list[Prediction]:
    count, size = len(golden["scores"]), golden["labels"].shape[1:]
    masks = np.unpackbits(golden["masks"], count=count * size[0] * size[1]).reshape(count, *size)
    return [
        prediction(mask, float(confidence), CITYSCAPES_IDS.index(int(kind)), int(picture) + 1)
        for mask, confidence, kind, picture in zip(
            masks, golden["scores"], golden["kinds"], golden["pictures"], strict=True
        )
    ]
