"""YOLACT and YOLACT++ with ResNet-50 against what the originals answer with the same weights; keys of all eight."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.anchors import make_anchors
from model.boxes import box_iou
from model.config import PUBLISHED
from model.detect import DetectSettings, NmsKind, RankedDetections, detect
from model.masks import assemble_masks
from model.outputs import YolactOutputs
from model.seeded_weights import fill_seeded_weights
from model.yolact import Yolact
from scene.instances import Detections, instances_on_frame
from tests.model.golden_cases import loss_case
from training.class_losses import ClassCounts, ClassLossKind, ClassLossSettings
from training.losses import Losses, LossSettings, losses
from training.matching import Targets

PARITY = Path(__file__).parents[1] / "testdata" / "parity"
FRAME_HW = (480, 640)
ANCHORS = {"yolact-resnet50": 19248, "yolact-plus-resnet50": 57744}
KEYS = {
    "yolact-resnet50": "r50",
    "yolact-base": "r101",
    "yolact-im400": "im400",
    "yolact-im700": "im700",
    "yolact-darknet53": "darknet53",
    "yolact-resnet50-pascal": "r50_pascal",
    "yolact-plus-resnet50": "plus_r50",
    "yolact-plus-base": "plus_r101",
}


class Answer(NamedTuple):
    """Everything that one forward and one backward pass give, and what the original gave."""

    name: str
    network: Yolact
    anchors: Tensor
    outputs: YolactOutputs
    both: YolactOutputs
    terms: Losses
    gradient_norms: dict[str, float]
    golden: dict[str, NDArray[Any]]
    figures: dict[str, Any]


@pytest.fixture(scope="module", params=list(ANCHORS))
def answer(request: pytest.FixtureRequest) -> Iterator[Answer]:
    """The loss case's first picture is the golden input, so one pass over the batch serves all.

    On one thread, as the original's was: then gradients agree to 1e-6. Two threads add in another order, which turns a
    ReLU's input of nearly 0 to the other side and moves the protonet's first gradient by 1.2e-4, as float64 does.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = Yolact(PUBLISHED[request.param])
    fill_seeded_weights(network)
    network.eval()
    anchors = make_anchors(network.config)
    images, boxes, masks, crowds = loss_case()
    outputs = network(images)
    terms = losses(network, outputs, anchors, _targets(boxes, masks, crowds), LossSettings())
    terms.total.backward()  # type: ignore[no-untyped-call]
    both = YolactOutputs(*(tensor.detach() for tensor in outputs))
    first = YolactOutputs(*(tensor[:1] for tensor in both))
    file = PARITY / request.param.replace("-", "_")
    with np.load(file.with_suffix(".npz")) as arrays:
        golden = dict(arrays)
    figures = json.loads(file.with_suffix(".json").read_text())
    torch.set_num_threads(threads)
    yield Answer(request.param, network, anchors, first, both, terms, _gradient_norms(network), golden, figures)


def _gradient_norms(network: Yolact) -> dict[str, float]:
    """Of every parameter but BatchNorm's, which the original froze with its statistics."""
    norms = {}
    for prefix, module in network.named_modules():
        if not isinstance(module, nn.BatchNorm2d):
            for name, value in module.named_parameters(recurse=False):
                assert value.grad is not None, f"{prefix}.{name}"
                norms[f"{prefix}.{name}"] = float(value.grad.norm())
    return norms


def _targets(boxes: list[Tensor], masks: list[Tensor], crowds: list[int]) -> list[Targets]:
    """The case's rows, crowds last, as our targets."""
    targets = []
    for rows, shapes, crowd in zip(boxes, masks, crowds, strict=True):
        single = len(rows) - crowd
        targets.append(Targets(rows[:single, :4], rows[:single, 4].to(torch.int64), shapes[:single], rows[single:, :4]))
    return targets


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_state_dict_has_the_published_keys_and_shapes(name: str) -> None:
    published = {}
    for line in (PARITY / "keys" / f"keys_yolact_{KEYS[name]}.txt").read_text().splitlines():
        key, shape, dtype = line.split("\t")
        published[key] = (ast.literal_eval(shape), dtype)
    with torch.device("meta"):
        state = Yolact(PUBLISHED[name]).state_dict()
    ours = {key: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for key, tensor in state.items()}
    assert len(published) > 300
    assert list(ours.items()) == list(published.items())


def test_anchors_are_the_originals(answer: Answer) -> None:
    golden = answer.golden
    assert answer.anchors.shape == (ANCHORS[answer.name], 4)
    np.testing.assert_allclose(answer.anchors[golden["anchor_index"]].numpy(), golden["priors"], atol=1e-7, rtol=0)


def test_raw_outputs_are_the_originals(answer: Answer) -> None:
    index = answer.golden["anchor_index"]
    ours = {
        "loc": answer.outputs.box_offsets[0, index],
        "mask_coeff": answer.outputs.mask_coefficients[0, index],
        "conf": answer.outputs.class_logits[0].softmax(dim=-1)[index, ::4],
        "proto": answer.outputs.prototypes[0, ::6, ::6],
    }
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor.numpy(), answer.golden[name], atol=1e-4, rtol=0, err_msg=name)


def test_means_over_all_outputs_are_the_originals(answer: Answer) -> None:
    ours = {
        "loc": answer.outputs.box_offsets,
        "mask": answer.outputs.mask_coefficients,
        "conf": answer.outputs.class_logits.softmax(dim=-1),
        "proto": answer.outputs.prototypes,
        "priors": answer.anchors,
    }
    means = {name: float(tensor.double().abs().mean()) for name, tensor in ours.items()}
    assert means == pytest.approx(answer.figures["raw_mean_abs"], rel=1e-5)


def _found(answer: Answer, nms: NmsKind) -> RankedDetections:
    settings = DetectSettings(nms=nms)
    found = detect(answer.outputs, answer.anchors, settings, answer.network.config.size_hw)
    return RankedDetections(*(rows[:, : int((found.scores > 0).sum())] for rows in found))


def _partners(found: RankedDetections, boxes: Tensor, classes: Tensor, scores: Tensor) -> Tensor:
    """Our row for each golden one: the same class and score, and the box that overlaps it most."""
    same = classes[:, None] == found.classes[0][None]
    same &= (scores[:, None] - found.scores[0][None]).abs() < 1e-5
    return torch.where(same, box_iou(boxes, found.boxes_xyxy[0]), -1.0).argmax(dim=1)


@pytest.mark.parametrize(
    ("nms", "prefix"),
    [
        ("fast", "fast"),
        ("cross-class", "cross"),
        pytest.param("traditional", "traditional", marks=pytest.mark.slow),  # a minute; test_detect has it in small
    ],
)
def test_every_nms_finds_what_the_original_finds(answer: Answer, nms: NmsKind, prefix: str) -> None:
    boxes, classes, scores = (torch.from_numpy(answer.golden[f"{prefix}_{name}"]) for name in ("box", "class", "score"))
    found = _found(answer, nms)
    rows = _partners(found, boxes, classes, scores)
    assert len(set(rows.tolist())) == len(boxes) == found.scores.shape[1] > 70
    assert torch.equal(found.classes[0, rows], classes)
    torch.testing.assert_close(found.scores[0, rows], scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.boxes_xyxy[0, rows], boxes, atol=1e-4, rtol=0)


def test_fast_nms_class_by_class_finds_the_same(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported: the operations that no picture changes."""
    pooled = _found(answer, "fast")
    monkeypatch.setattr("model.detect._pooled_fast_nms", lambda *_: None)
    for ours, theirs in zip(_found(answer, "fast"), pooled, strict=True):
        assert torch.equal(ours, theirs)


class _Masks(NamedTuple):
    """The hundred golden rows of one answer: our boxes, classes, scores and soft masks of them."""

    boxes_xyxy: Tensor
    classes: Tensor
    scores: Tensor
    soft: Tensor


def _golden_rows(answer: Answer) -> _Masks:
    golden, found = answer.golden, _found(answer, "fast")
    scale = torch.tensor([*FRAME_HW[::-1], *FRAME_HW[::-1]])
    boxes, classes, scores = (torch.from_numpy(golden[f"post_{name}"]) for name in ("box", "class", "score"))
    rows = _partners(found, boxes / scale, classes, scores)
    assert len(set(rows.tolist())) == len(boxes) == 100
    boxes_xyxy = found.boxes_xyxy[0, rows]
    assert torch.equal((boxes_xyxy.clamp(0, 1) * scale).long(), boxes)
    soft = assemble_masks(answer.outputs.prototypes[0], found.mask_coefficients[0, rows], boxes_xyxy)
    return _Masks(boxes_xyxy, classes, scores, soft)


def _golden_masks(golden: Mapping[str, Any]) -> NDArray[np.bool_]:
    """bool [20, H, W]."""
    bits = np.unpackbits(golden["post_mask_bits"], axis=1).reshape(-1, *FRAME_HW).astype(bool)
    assert len(bits) == 20
    return bits


def _on_frame(soft: Tensor) -> Tensor:
    return F.interpolate(soft[:, None], FRAME_HW, mode="bilinear", align_corners=False)[:, 0]


def test_assembled_masks_are_the_originals(answer: Answer) -> None:
    golden, ours = answer.golden, _golden_rows(answer)
    np.testing.assert_allclose(
        _mask_scores(answer.network, ours.soft, ours.classes, ours.scores), golden["post_mask_score"], atol=1e-5, rtol=0
    )
    masks = _on_frame(ours.soft) > 0.5
    np.testing.assert_allclose(masks.sum(dim=(1, 2)).numpy(), golden["post_mask_area"], atol=3, rtol=1e-3)
    twenty, expected = masks[golden["post_mask_row"]].numpy(), _golden_masks(golden)
    assert ((twenty & expected).sum(axis=(1, 2)) / (twenty | expected).sum(axis=(1, 2))).min() >= 0.999


def test_masks_on_the_frame_are_the_originals(answer: Answer) -> None:
    """As they are served, laid on the frame by what serving and evaluation share.

    They are kept in 256 levels, so pixels whose probability is within a level of one half may fall on the other side.
    """
    ours, rows = _golden_rows(answer), answer.golden["post_mask_row"]
    levels = (ours.soft[rows] * 255).round().to(torch.uint8).numpy()
    scores, classes = ours.scores[rows].numpy(), ours.classes[rows].numpy().astype(np.int32)
    detections = Detections(ours.boxes_xyxy[rows].numpy(), scores, scores, classes, levels)
    masks = np.stack([one.full_mask(FRAME_HW) for one in instances_on_frame(detections, FRAME_HW)]).astype(bool)
    otherwise = masks != _golden_masks(answer.golden)
    assert otherwise.mean() < 0.002
    assert np.abs(_on_frame(ours.soft[rows]).numpy()[otherwise] - 0.5).max() <= 1 / 255


def _mask_scores(network: Yolact, soft: Tensor, classes: Tensor, scores: Tensor) -> NDArray[Any]:
    """Rescored in YOLACT++, the class scores themselves in YOLACT."""
    if network.maskiou_net is None:
        return scores.numpy()
    with torch.inference_mode():
        ious = network.maskiou_net(soft[:, None])[torch.arange(len(classes)), classes]
    scores = scores * ious
    return scores.numpy()


TERMS = {"B": "box", "C": "classes", "M": "mask", "I": "rescoring", "S": "semantic"}


def test_loss_terms_are_the_originals(answer: Answer) -> None:
    expected = answer.figures["loss_default"]
    ours = {letter: float(getattr(answer.terms, name).detach()) for letter, name in TERMS.items()}
    assert {letter: ours[letter] for letter in expected} == pytest.approx(expected, rel=1e-4)
    assert all(ours[letter] == 0 for letter in ours.keys() - expected.keys())


CLASS_LOSSES: dict[str, ClassLossKind] = {
    "loss_default": "ohem",
    "loss_use_focal_loss": "focal",
    "loss_use_focal_loss+use_sigmoid_focal_loss": "sigmoid-focal",
    "loss_use_focal_loss+use_objectness_score": "focal-objectness",
    "loss_use_objectness_score": "objectness",
    "loss_use_class_balanced_conf": "balanced-ohem",
}


@pytest.mark.parametrize("variant", CLASS_LOSSES)
def test_every_term_of_every_variant_is_the_originals(answer: Answer, variant: str) -> None:
    settings = LossSettings(classes=ClassLossSettings(CLASS_LOSSES[variant]))
    targets = _targets(*loss_case()[1:])
    with torch.no_grad():
        terms = losses(answer.network, answer.both, answer.anchors, targets, settings, ClassCounts(80))
    expected = answer.figures[variant]
    assert {letter: float(getattr(terms, TERMS[letter])) for letter in expected} == pytest.approx(expected, rel=1e-4)
    assert float(terms.classes) == pytest.approx(expected["C"], rel=1e-6)


def test_gradients_are_the_originals(answer: Answer) -> None:
    expected = answer.figures["grad_norm"]
    assert {name: answer.gradient_norms[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    total = sum(norm**2 for norm in answer.gradient_norms.values()) ** 0.5
    assert total == pytest.approx(answer.figures["grad_norm_total"], rel=1e-4)
