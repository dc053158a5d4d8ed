import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.boxes import box_iou, cxcywh_to_xyxy, decode_boxes
from training.matching import BACKGROUND, NEUTRAL, Matches, Targets, match

ANCHORS = torch.tensor([[0.25, 0.25, 0.2, 0.2], [0.75, 0.25, 0.2, 0.2], [0.25, 0.75, 0.2, 0.2], [0.75, 0.75, 0.2, 0.2]])


def truth(
    boxes: list[list[float]], classes: list[int] | None = None, crowds: list[list[float]] | None = None
) -> Targets:
    classes = list(range(len(boxes))) if classes is None else classes
    return Targets(
        torch.tensor(boxes).view(-1, 4),
        torch.tensor(classes, dtype=torch.int64),
        torch.zeros(len(boxes), 4, 4, dtype=torch.uint8),
        torch.tensor(crowds or []).view(-1, 4),
    )


def around(anchor: int, width_factor: float) -> list[float]:
    """A box in the anchor's middle, as high and so many times as wide: its IoU is the factor, if below 1."""
    cx, cy, w, h = ANCHORS[anchor].tolist()
    return cxcywh_to_xyxy(torch.tensor([cx, cy, w * width_factor, h])).tolist()


def literal(anchors: Tensor, targets: Targets) -> list[int]:
    """Labels, one anchor after the other."""
    overlaps = box_iou(targets.boxes_xyxy, cxcywh_to_xyxy(anchors)).tolist()
    objects, count = range(len(overlaps)), len(anchors)
    owner: dict[int, int] = {}
    pairs = sorted(((overlaps[n][a], -n, -a) for n in objects for a in range(count)), reverse=True)
    for _, n, a in pairs:
        if -a not in owner and -n not in owner.values():
            owner[-a] = -n
    labels = []
    for a in range(count):
        best = max(objects, key=lambda n: overlaps[n][a])
        share = overlaps[best][a]
        label = BACKGROUND if share < 0.4 else NEUTRAL if share < 0.5 else int(targets.classes[best]) + 1
        labels.append(int(targets.classes[owner[a]]) + 1 if a in owner else label)
    return labels


def test_an_empty_picture_is_all_background() -> None:
    found = match(ANCHORS, truth([]))
    assert found.labels.tolist() == [BACKGROUND] * 4
    assert found.rows.tolist() == [0] * 4
    assert not found.offsets.any()
    assert found.offsets.shape == (4, 4)


def test_a_picture_of_only_a_crowd_is_neutral_there() -> None:
    found = match(ANCHORS, truth([], crowds=[[0.0, 0.0, 1.0, 0.5]]))
    assert found.labels.tolist() == [NEUTRAL, NEUTRAL, BACKGROUND, BACKGROUND]


def test_a_tiny_object_takes_its_best_anchor() -> None:
    found = match(ANCHORS, truth([[0.74, 0.24, 0.76, 0.26]], classes=[5]))
    assert found.labels.tolist() == [BACKGROUND, 6, BACKGROUND, BACKGROUND]


@pytest.mark.parametrize(("iou", "label"), [(0.35, BACKGROUND), (0.45, NEUTRAL), (0.55, 1)])
def test_the_band_between_the_thresholds_is_neutral(iou: float, label: int) -> None:
    anchors = torch.cat((ANCHORS[:1], ANCHORS[:1]))
    anchors[0, 2] *= 2  # the first of two has a better partner, so that the second is matched by overlap alone
    better = cxcywh_to_xyxy(anchors[0])
    height = better[3] - better[1]
    target = truth([better.tolist()], classes=[0])
    anchors[1] = anchors[0]
    anchors[1, 3] = height * iou
    found = match(anchors, target)
    assert found.labels.tolist() == [1, label]


def test_two_objects_on_one_anchor_each_get_one() -> None:
    found = match(ANCHORS, truth([around(0, 0.9), around(0, 0.8)], classes=[2, 3]))
    assert found.labels[0] == 3
    assert sorted(found.labels.tolist()) == [BACKGROUND, BACKGROUND, 3, 4]


def test_a_crowd_never_takes_a_positive() -> None:
    found = match(ANCHORS, truth([around(0, 0.9)], classes=[1], crowds=[[0.0, 0.0, 1.0, 1.0]]))
    assert found.labels.tolist() == [2, NEUTRAL, NEUTRAL, NEUTRAL]


@pytest.mark.parametrize(("share", "label"), [(0.6, BACKGROUND), (0.8, NEUTRAL)])
def test_a_crowd_must_hold_most_of_an_anchor(share: float, label: int) -> None:
    x1, y1, x2, y2 = cxcywh_to_xyxy(ANCHORS[3]).tolist()
    crowd = [x1, y1, x1 + share * (x2 - x1), y2]
    assert match(ANCHORS, truth([], crowds=[crowd])).labels.tolist() == [BACKGROUND] * 3 + [label]


def test_offsets_lead_back_to_the_objects_box() -> None:
    targets = truth([around(0, 0.7), [0.7, 0.65, 0.9, 0.8]])
    found: Matches = match(ANCHORS, targets)
    positive = found.labels > BACKGROUND
    assert int(positive.sum()) == 2
    decoded = decode_boxes(found.offsets, ANCHORS)[positive]
    torch.testing.assert_close(decoded, targets.boxes_xyxy[found.rows[positive]])
    assert torch.equal(targets.classes[found.rows[positive]] + 1, found.labels[positive])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_labels_are_the_literal_ones(seed: int, objects: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres, sizes = torch.rand(46, 2, generator=generator), torch.rand(46, 2, generator=generator) * 0.5 + 0.05
    rows = torch.cat((centres, sizes), dim=1)
    targets = truth(cxcywh_to_xyxy(rows[:objects]).tolist())
    assert match(rows[6:], targets).labels.tolist() == literal(rows[6:], targets)
