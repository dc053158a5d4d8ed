"""The published YOLACT++ R50, built from our configuration, against what the original answers with the same weights."""

import ast
import json
from collections.abc import Iterator
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
from model.config import AnchorConfig, BackboneConfig, YolactConfig, octave_scales
from model.detect import DetectSettings, RankedDetections, detect
from model.masks import assemble_masks
from model.outputs import YolactOutputs
from model.seeded_weights import fill_seeded_weights
from model.yolact import Yolact
from tests.model.golden_cases import loss_case
from training.losses import Losses, LossSettings, losses
from training.matching import Targets

PARITY = Path(__file__).parents[1] / "testdata" / "parity"
FRAME_HW = (480, 640)

YOLACT_PLUS_R50 = YolactConfig(
    class_names=tuple(f"class {index}" for index in range(80)),
    size_hw=(550, 550),
    backbone=BackboneConfig(stem_channels=64, blocks=(3, 4, 6, 3), planes=(64, 128, 256, 512), deformable=(0, 4, 6, 3)),
    fpn_channels=256,
    anchors=AnchorConfig(octave_scales((24.0, 48.0, 96.0, 192.0, 384.0), steps=3)),
    prototypes=32,
    proto_channels=((256, 256, 256), (256,)),
    rescoring_channels=(8, 16, 32, 64, 128),
)


class Answer(NamedTuple):
    """Everything that one forward and one backward pass give."""

    network: Yolact
    anchors: Tensor
    outputs: YolactOutputs
    found: RankedDetections
    terms: Losses
    gradient_norms: dict[str, float]


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[Any]]:
    with np.load(PARITY / "yolact_plus_resnet50.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden_figures() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PARITY / "yolact_plus_resnet50.json").read_text())
    return content


@pytest.fixture(scope="module")
def answer() -> Iterator[Answer]:
    """The loss case's first picture is the golden input, so one pass over the batch serves all."""
    network = Yolact(YOLACT_PLUS_R50)
    fill_seeded_weights(network)
    network.eval()
    anchors = make_anchors(YOLACT_PLUS_R50)
    images, boxes, masks, crowds = loss_case()
    outputs = network(images)
    terms = losses(network, outputs, anchors, _targets(boxes, masks, crowds), LossSettings())
    terms.total.backward()  # type: ignore[no-untyped-call]
    norms = _gradient_norms(network)
    first = YolactOutputs(*(tensor[:1].detach() for tensor in outputs))
    yield Answer(network, anchors, first, detect(first, anchors, DetectSettings()), terms, norms)


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


def test_the_state_dict_has_the_published_keys_and_shapes(answer: Answer) -> None:
    published = {}
    for line in (PARITY / "keys" / "keys_yolact_plus_r50.txt").read_text().splitlines():
        key, shape, dtype = line.split("\t")
        published[key] = (ast.literal_eval(shape), dtype)
    state = answer.network.state_dict()
    ours = {key: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for key, tensor in state.items()}
    assert len(published) > 300
    assert ours == published


def test_anchors_are_the_originals(answer: Answer, golden: dict[str, NDArray[Any]]) -> None:
    assert answer.anchors.shape == (57744, 4)
    np.testing.assert_allclose(answer.anchors[golden["anchor_index"]].numpy(), golden["priors"], atol=1e-7, rtol=0)


def test_raw_outputs_are_the_originals(answer: Answer, golden: dict[str, NDArray[Any]]) -> None:
    index = golden["anchor_index"]
    ours = {
        "loc": answer.outputs.box_offsets[0, index],
        "mask_coeff": answer.outputs.mask_coefficients[0, index],
        "conf": answer.outputs.class_logits[0].softmax(dim=-1)[index, ::4],
        "proto": answer.outputs.prototypes[0, ::6, ::6],
    }
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor.numpy(), golden[name], atol=1e-4, rtol=0, err_msg=name)


def test_means_over_all_outputs_are_the_originals(answer: Answer, golden_figures: dict[str, Any]) -> None:
    ours = {
        "loc": answer.outputs.box_offsets,
        "mask": answer.outputs.mask_coefficients,
        "conf": answer.outputs.class_logits.softmax(dim=-1),
        "proto": answer.outputs.prototypes,
        "priors": answer.anchors,
    }
    means = {name: float(tensor.double().abs().mean()) for name, tensor in ours.items()}
    assert means == pytest.approx(golden_figures["raw_mean_abs"], rel=1e-5)


def _partners(answer: Answer, boxes: Tensor, classes: Tensor, scores: Tensor) -> Tensor:
    """Our row for each golden one: the same class and score, and the box that overlaps it most."""
    same = classes[:, None] == answer.found.classes[0][None]
    same &= (scores[:, None] - answer.found.scores[0][None]).abs() < 1e-5
    return torch.where(same, box_iou(boxes, answer.found.boxes_xyxy[0]), -1.0).argmax(dim=1)


def test_fast_nms_finds_what_the_original_finds(answer: Answer, golden: dict[str, NDArray[Any]]) -> None:
    boxes, classes, scores = (torch.from_numpy(golden[f"fast_{name}"]) for name in ("box", "class", "score"))
    rows = _partners(answer, boxes, classes, scores)
    assert len(set(rows.tolist())) == len(boxes) == 100
    assert torch.equal(answer.found.classes[0, rows], classes)
    torch.testing.assert_close(answer.found.scores[0, rows], scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(answer.found.boxes_xyxy[0, rows], boxes, atol=1e-4, rtol=0)


def test_assembled_masks_are_the_originals(answer: Answer, golden: dict[str, NDArray[Any]]) -> None:
    height, width = FRAME_HW
    scale = torch.tensor([width, height, width, height])
    boxes, classes, scores = (torch.from_numpy(golden[f"post_{name}"]) for name in ("box", "class", "score"))
    rows = _partners(answer, boxes / scale, classes, scores)
    assert len(set(rows.tolist())) == len(boxes) == 100
    ours = (answer.found.boxes_xyxy[0, rows].clamp(0, 1) * scale).long()
    assert int((ours - boxes).abs().max()) <= 1
    soft = assemble_masks(
        answer.outputs.prototypes[0], answer.found.mask_coefficients[0, rows], answer.found.boxes_xyxy[0, rows]
    )
    assert answer.network.maskiou_net is not None
    with torch.inference_mode():
        ious = answer.network.maskiou_net(soft[:, None])[torch.arange(len(rows)), classes]
    np.testing.assert_allclose((scores * ious).numpy(), golden["post_mask_score"], atol=1e-5, rtol=1e-4)
    masks = F.interpolate(soft[:, None], FRAME_HW, mode="bilinear", align_corners=False)[:, 0] > 0.5
    np.testing.assert_allclose(masks.sum(dim=(1, 2)).numpy(), golden["post_mask_area"], atol=3, rtol=1e-3)
    bits = np.unpackbits(golden["post_mask_bits"], axis=1).reshape(-1, height, width).astype(bool)
    ours_bits = masks[golden["post_mask_row"]].numpy()
    shared = (ours_bits & bits).sum(axis=(1, 2)) / (ours_bits | bits).sum(axis=(1, 2))
    assert len(shared) == 20
    assert shared.min() >= 0.999


def test_loss_terms_are_the_originals(answer: Answer, golden_figures: dict[str, Any]) -> None:
    names = {"B": "box", "C": "classes", "M": "mask", "I": "rescoring", "S": "semantic"}
    ours = {letter: float(getattr(answer.terms, name).detach()) for letter, name in names.items()}
    assert ours == pytest.approx(golden_figures["loss_default"], rel=1e-4)


def test_gradients_are_the_originals(answer: Answer, golden_figures: dict[str, Any]) -> None:
    expected = golden_figures["grad_norm"]
    assert {name: answer.gradient_norms[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    total = sum(norm**2 for norm in answer.gradient_norms.values()) ** 0.5
    assert total == pytest.approx(golden_figures["grad_norm_total"], rel=1e-4)
