from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import model.detect
from model.anchors import make_anchors
from model.boxes import box_iou, cxcywh_to_xyxy, decode_boxes, encode_boxes
from model.detect import DetectSettings, NmsKind, RankedDetections, detect, fast_nms_keep
from model.outputs import YolactOutputs
from tests.model.tiny_network import TINY

Row = tuple[float, int, int]
"""Score, class and anchor of a detection."""

SIZE_HW = (32, 64)
ANCHORS = make_anchors(replace(TINY, size_hw=SIZE_HW))


def outputs_of(
    scores: Tensor, boxes_xyxy: Tensor | None = None, anchors: Tensor = ANCHORS, prototypes: int = 2
) -> YolactOutputs:
    """What a network would have answered for class probabilities [B, N, C] (the rest is background) and boxes."""
    background = 1 - scores.sum(dim=-1, keepdim=True)
    offsets = torch.zeros(*scores.shape[:2], 4)
    if boxes_xyxy is not None:
        offsets = encode_boxes(boxes_xyxy, anchors)
    coefficients = torch.arange(scores.shape[1] * prototypes).float().view(1, -1, prototypes)
    return YolactOutputs(
        offsets,
        torch.cat((background, scores), dim=-1).log(),
        coefficients.expand(len(scores), -1, -1) / coefficients.numel(),
        torch.zeros(0),
        torch.zeros(0),
    )


def crowded(seed: int, batch: int = 1, classes: int = 3) -> YolactOutputs:
    """Random scores, and boxes that overlap each other often."""
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.randn(batch, len(ANCHORS), classes + 1, generator=generator) * 2).softmax(dim=-1)[..., 1:]
    centres = torch.rand(batch, len(ANCHORS), 2, generator=generator)
    sizes = torch.rand(batch, len(ANCHORS), 2, generator=generator) * 0.5 + 0.1
    return outputs_of(scores, cxcywh_to_xyxy(torch.cat((centres, sizes), dim=-1)))


def literal_fast_nms(outputs: YolactOutputs, picture: int, limits: DetectSettings) -> list[Row]:
    """Section 3.4 in loops: a box goes if any better box of its class, kept or not, overlaps it too much."""
    boxes = decode_boxes(outputs.box_offsets[picture], ANCHORS)
    scores = outputs.class_logits[picture].softmax(dim=-1)
    overlaps = box_iou(boxes, boxes)
    found: list[Row] = []
    for class_index in range(scores.shape[1] - 1):
        column = scores[:, class_index + 1].tolist()
        seen = [row for row in range(len(column)) if float(scores[row, 1:].max()) > limits.score_threshold]
        order = sorted(seen, key=lambda row: -column[row])[: limits.candidates]
        for place, row in enumerate(order):
            if all(float(overlaps[better, row]) <= limits.iou_threshold for better in order[:place]):
                found.append((column[row], class_index, row))
    return sorted(found, reverse=True)[: limits.max_detections]


def literal_cross_class_nms(outputs: YolactOutputs, picture: int, limits: DetectSettings) -> list[Row]:
    """The same over all classes at once, each anchor standing for its best class."""
    boxes = decode_boxes(outputs.box_offsets[picture], ANCHORS)
    scores, classes = outputs.class_logits[picture].softmax(dim=-1)[:, 1:].max(dim=-1)
    overlaps = box_iou(boxes, boxes)
    order = [row for row in scores.argsort(descending=True).tolist() if scores[row] > limits.score_threshold]
    order = order[: limits.candidates]
    return [
        (float(scores[row]), int(classes[row]), row)
        for place, row in enumerate(order)
        if all(float(overlaps[better, row]) <= limits.iou_threshold for better in order[:place])
    ]


def literal_traditional_nms(outputs: YolactOutputs, picture: int, limits: DetectSettings) -> list[Row]:
    """Greedy, per class, in pixels whose last one belongs to the box."""
    height, width = SIZE_HW
    boxes = decode_boxes(outputs.box_offsets[picture], ANCHORS) * torch.tensor([width, height, width, height])
    scores = outputs.class_logits[picture].softmax(dim=-1)[:, 1:]
    found: list[Row] = []
    for class_index in range(scores.shape[1]):
        column = scores[:, class_index].tolist()
        kept: list[int] = []
        for row in sorted(range(len(column)), key=lambda row: -column[row]):
            if column[row] > limits.score_threshold and all(
                overlap_of_whole_pixels(boxes[better].tolist(), boxes[row].tolist()) < limits.iou_threshold
                for better in kept
            ):
                kept.append(row)
        found += [(column[row], class_index, row) for row in kept]
    return sorted(found, reverse=True)[: limits.max_detections]


def overlap_of_whole_pixels(ours: list[float], other: list[float]) -> float:
    sides = [max(0.0, min(ours[axis + 2], other[axis + 2]) - max(ours[axis], other[axis]) + 1) for axis in (0, 1)]
    shared = sides[0] * sides[1]
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (ours, other)]
    return shared / (sum(areas) - shared)


def rows_of(found: RankedDetections, outputs: YolactOutputs, picture: int = 0) -> list[Row]:
    """The detections that are some, their anchors read from the coefficients."""
    rows = []
    for score, class_index, coefficients in zip(
        found.scores[picture].tolist(),
        found.classes[picture].tolist(),
        found.mask_coefficients[picture],
        strict=True,
    ):
        if score > 0:
            anchor = int((outputs.mask_coefficients[picture] - coefficients).abs().sum(dim=1).argmin())
            rows.append((score, class_index, anchor))
    return rows


def test_nothing_above_the_threshold() -> None:
    outputs = outputs_of(torch.full((2, len(ANCHORS), 3), 0.01))
    found = detect(outputs, ANCHORS, DetectSettings(), SIZE_HW)
    assert found.scores.shape[0] == 2
    assert not found.scores.any()


def test_one_object_by_hand() -> None:
    scores = torch.full((1, len(ANCHORS), 3), 0.01)
    scores[0, 5] = torch.tensor([0.1, 0.7, 0.06])
    outputs = outputs_of(scores)
    found = detect(outputs, ANCHORS, DetectSettings(), SIZE_HW)
    expected = [(0.7, 1, 5), (0.1, 0, 5), (0.06, 2, 5)]  # classes do not suppress each other
    rows = rows_of(found, outputs)
    assert [row[1:] for row in rows] == [row[1:] for row in expected]
    assert [row[0] for row in rows] == pytest.approx([row[0] for row in expected], abs=1e-6)
    torch.testing.assert_close(found.boxes_xyxy[0, 0], cxcywh_to_xyxy(ANCHORS[5]))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.05, 0.3, 0.6]),
    st.sampled_from([0.2, 0.5, 0.9]),
    st.sampled_from([1, 7, 20, 200]),
    st.sampled_from([1, 10, 100]),
)
def test_equals_fast_nms_in_loops(seed: int, score: float, iou: float, candidates: int, limit: int) -> None:
    limits = DetectSettings(score, iou, candidates, limit)
    outputs = crowded(seed, batch=2)
    found = detect(outputs, ANCHORS, limits, SIZE_HW)
    for picture in range(2):
        expected = literal_fast_nms(outputs, picture, limits)
        rows = rows_of(found, outputs, picture)
        assert [row[1:] for row in rows] == [row[1:] for row in expected]
        assert [row[0] for row in rows] == pytest.approx([row[0] for row in expected], abs=1e-6)


@pytest.mark.parametrize("limits", [DetectSettings(), DetectSettings(0.2, 0.3, 7, 12), DetectSettings(0.4, 0.7, 20, 5)])
@pytest.mark.parametrize("literal", [literal_cross_class_nms, literal_traditional_nms])
def test_the_other_kinds_equal_themselves_in_loops(
    literal: Callable[[YolactOutputs, int, DetectSettings], list[Row]], limits: DetectSettings
) -> None:
    limits = replace(limits, nms="cross-class" if literal is literal_cross_class_nms else "traditional")
    outputs = crowded(4, batch=2)
    found = detect(outputs, ANCHORS, limits, SIZE_HW)
    assert found.scores.shape[1] == limits.rows
    for picture in range(2):
        expected = literal(outputs, picture, limits)
        rows = rows_of(found, outputs, picture)
        assert len(rows) > 3, "the case should find something"
        assert [row[1:] for row in rows] == [row[1:] for row in expected]
        assert [row[0] for row in rows] == pytest.approx([row[0] for row in expected], abs=1e-6)


@pytest.mark.parametrize("nms", ["fast", "cross-class", "traditional"])
def test_every_kind_finds_nothing_where_nothing_is(nms: NmsKind) -> None:
    outputs = outputs_of(torch.full((2, len(ANCHORS), 3), 0.01))
    limits = DetectSettings(nms=nms)
    found = detect(outputs, ANCHORS, limits, SIZE_HW)
    assert found.scores.shape == (2, limits.rows)
    assert not found.scores.any()


@pytest.mark.parametrize(("pool", "handfuls"), [(1, (1,)), (60, (8, 60)), (60, (30,)), (10_000, (5, 10_000))])
@pytest.mark.parametrize(
    "limits", [DetectSettings(), DetectSettings(0.3, 0.5, 3, 6), DetectSettings(0.6, 0.2, 200, 100)]
)
def test_the_pool_of_best_scores_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch, limits: DetectSettings, pool: int, handfuls: tuple[int, ...]
) -> None:
    answered = []

    def listening(*arguments: Any) -> Any:
        answered.append(pooled(*arguments))
        return answered[-1]

    pooled = model.detect._pooled_fast_nms
    monkeypatch.setattr("model.detect._POOL", pool)
    monkeypatch.setattr("model.detect._HANDFULS", handfuls)
    monkeypatch.setattr("model.detect._pooled_fast_nms", listening)
    outputs = crowded(7, batch=2)
    found = detect(outputs, ANCHORS, limits, SIZE_HW)
    suffices = pool == 10_000 or (limits.max_detections == 6 and pool > 1)
    assert [each is not None for each in answered] == [suffices, suffices]
    monkeypatch.setattr("model.detect._pooled_fast_nms", lambda *_: None)
    classwise = detect(outputs, ANCHORS, limits, SIZE_HW)
    seen = found.scores > 0
    assert torch.equal(seen, classwise.scores > 0)
    for ours, theirs in zip(found, classwise, strict=True):
        assert ours.shape == theirs.shape
        assert torch.equal(ours[seen], theirs[seen])


def test_a_box_that_is_no_number_suppresses_none_of_another_class() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [float("nan")] * 4, [2.0, 0.0, 3.0, 1.0]]])
    assert fast_nms_keep(boxes, 0.5, torch.tensor([[0, 1, 0]])).tolist() == [[True, True, True]]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0, width=32))
def test_a_raised_threshold_takes_rows_away_and_changes_none(seed: int, raised: float) -> None:
    outputs = crowded(seed, batch=2)
    whole = detect(outputs, ANCHORS, DetectSettings(), SIZE_HW)
    some = detect(outputs, ANCHORS, DetectSettings(), SIZE_HW, torch.tensor(raised))
    for picture in range(2):
        count = int((some.scores[picture] > 0).sum())
        assert count == int((whole.scores[picture] > raised).sum())
        for ours, theirs in zip(some.first(count), whole.first(count), strict=True):
            assert torch.equal(ours[picture], theirs[picture])


def test_of_two_equal_scores_on_one_place_one_stays() -> None:
    scores = torch.full((1, len(ANCHORS), 2), 0.001)
    scores[0, [3, 9], 0] = 0.8
    boxes = cxcywh_to_xyxy(ANCHORS).clone()[None]
    boxes[0, 9] = boxes[0, 3]
    rows = rows_of(detect(outputs := outputs_of(scores, boxes), ANCHORS, DetectSettings(), SIZE_HW), outputs)
    first, second = rows
    assert first[1] == 0
    assert first[2] in (3, 9)
    assert second[1] == 1, "an anchor's other classes come with it, as published"


def test_equal_scores_apart_all_stay() -> None:
    scores = torch.full((1, len(ANCHORS), 2), 0.001)
    scores[0, [0, 3, 15], 1] = 0.8
    rows = rows_of(detect(outputs := outputs_of(scores), ANCHORS, DetectSettings(), SIZE_HW), outputs)
    assert {row[1:] for row in rows if row[0] > 0.5} == {(1, 0), (1, 3), (1, 15)}


def test_a_suppressed_box_suppresses_too() -> None:
    """What Fast NMS does and the traditional one does not: the third goes because of the second."""
    chain = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.3, 0.0, 1.3, 1.0], [0.6, 0.0, 1.6, 1.0], [3.0, 0.0, 4.0, 1.0]])
    assert fast_nms_keep(chain, 0.5).tolist() == [True, False, False, True]
    assert fast_nms_keep(chain[[0, 2, 3]], 0.5).tolist() == [True, True, True]


def test_an_overlap_of_just_the_threshold_stays() -> None:
    half = torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    assert fast_nms_keep(half, 0.5).tolist() == [True, True]
    assert fast_nms_keep(half, 0.49).tolist() == [True, False]


def test_rows_are_as_many_as_asked_for_or_as_there_are() -> None:
    outputs = crowded(0)
    found = detect(outputs, ANCHORS, DetectSettings(max_detections=4), SIZE_HW)
    assert found.scores.shape == (1, 4)
    assert found.boxes_xyxy.shape == (1, 4, 4)
    few = detect(outputs_of(torch.full((1, 2, 3), 0.2), anchors=ANCHORS[:2]), ANCHORS[:2], DetectSettings(), SIZE_HW)
    assert few.scores.shape == (1, 100)
    assert int((few.scores > 0).sum()) == 3
