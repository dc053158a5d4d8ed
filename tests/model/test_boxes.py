import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.boxes import area, box_iou, cxcywh_to_xyxy, decode_boxes, encode_boxes, intersection

SIDES = st.floats(0, 1, width=32)
SIZES = st.floats(1 / 128, 1, width=32)
CXCYWH = st.tuples(SIDES, SIDES, SIZES, SIZES)


def literal_iou(a: list[float], b: list[float]) -> float:
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_no_boxes_have_no_overlaps(n: int, m: int) -> None:
    boxes, others = torch.zeros(n, 4), torch.zeros(m, 4)
    assert box_iou(boxes, others).shape == (n, m)
    assert intersection(boxes, others).shape == (n, m)
    assert area(boxes).shape == (n,)
    assert encode_boxes(boxes, boxes).shape == decode_boxes(boxes, boxes).shape == (n, 4)


def test_iou_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 4.0]])
    others = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    expected = torch.tensor([[1 / 7, 1.0, 0.0, 0.0], [0.0, 2 / 6, 0.0, 0.0]])
    torch.testing.assert_close(box_iou(boxes, others), expected)
    torch.testing.assert_close(intersection(boxes, others), torch.tensor([[1.0, 4, 0, 0], [0, 2, 0, 0]]))
    torch.testing.assert_close(area(others), torch.tensor([4.0, 4.0, 4.0, 1.0]))


def test_boxes_without_area_overlap_nothing() -> None:
    point = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert box_iou(point, point).item() == 0.0
    assert box_iou(point, whole).item() == 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(CXCYWH, min_size=1, max_size=5), st.lists(CXCYWH, min_size=1, max_size=5))
def test_iou_is_the_literal_one_and_symmetric(first: list[list[float]], second: list[list[float]]) -> None:
    a, b = (cxcywh_to_xyxy(torch.tensor(rows)) for rows in (first, second))
    overlaps = box_iou(a, b)
    expected = [[literal_iou(row, other) for other in b.tolist()] for row in a.tolist()]
    torch.testing.assert_close(overlaps, torch.tensor(expected), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(overlaps, box_iou(b, a).T)
    assert float(overlaps.min()) >= 0
    assert float(overlaps.max()) <= 1 + 1e-5


def test_iou_of_batches_is_that_of_each_picture() -> None:
    boxes = cxcywh_to_xyxy(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)))
    batched = box_iou(boxes, boxes)
    for picture, rows in zip(batched, boxes, strict=True):
        torch.testing.assert_close(picture, box_iou(rows, rows))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(CXCYWH, CXCYWH), min_size=1, max_size=8))
def test_decoding_undoes_encoding(pairs: list[tuple[list[float], list[float]]]) -> None:
    boxes = cxcywh_to_xyxy(torch.tensor([box for box, _ in pairs]))
    anchors = torch.tensor([anchor for _, anchor in pairs])
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-4, rtol=1e-4)


def test_encoding_by_hand() -> None:
    anchor = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    box = torch.tensor([[0.5, 0.4, 0.9, 0.8]])  # centre (0.7, 0.6), 0.4 x 0.4
    expected = torch.tensor([[0.2 / 0.2 / 0.1, 0.1 / 0.4 / 0.1, math.log(2) / 0.2, 0.0]])
    torch.testing.assert_close(encode_boxes(box, anchor), expected, atol=1e-5, rtol=1e-5)


def test_an_anchor_that_answers_nothing_is_its_own_box() -> None:
    anchors: Tensor = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.05, 0.05]])
    torch.testing.assert_close(decode_boxes(torch.zeros(2, 4), anchors), cxcywh_to_xyxy(anchors))
    torch.testing.assert_close(cxcywh_to_xyxy(anchors)[0], torch.tensor([0.4, 0.3, 0.6, 0.7]))


def test_an_absurd_answer_is_a_large_box_and_no_infinity() -> None:
    boxes = decode_boxes(torch.tensor([[1e4, -1e4, 1e4, 1e30]]), torch.tensor([[0.5, 0.5, 0.1, 0.2]]))
    assert bool(torch.isfinite(boxes).all())
    plain = torch.tensor([[0.1, -0.2, 3.0, -4.0]])
    anchors = torch.tensor([[0.5, 0.5, 0.1, 0.2]])
    torch.testing.assert_close(encode_boxes(decode_boxes(plain, anchors), anchors), plain, atol=1e-5, rtol=1e-5)
