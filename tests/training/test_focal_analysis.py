"""The focal loss's distribution, against formulas, the training's own losses and a count by hand."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import Scoring
from model.segmenter import Segmenter
from model.yolact import Yolact
from scene.errors import ConfigurationError, DataError
from scene.image import network_input
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.class_losses import ClassLossKind, ClassLossSettings, class_loss
from training.data.coco import CocoDataset
from training.feed import to_targets
from training.focal_analysis import (
    HARDEST,
    FocalSettings,
    analyse,
    cumulative,
    curve,
    focal_losses,
    true_log_probabilities,
)
from training.matching import BACKGROUND, NEUTRAL, match

GAMMAS = (0.0, 0.5, 1.0, 2.0)
SCORINGS: tuple[Scoring, ...] = ("softmax", "sigmoid", "objectness")


def answers(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [40, 5] and labels: three objects, a neutral anchor, background."""
    logits = torch.randn(40, 5, generator=torch.Generator().manual_seed(seed)) * 2
    labels = torch.zeros(40, dtype=torch.int64)
    labels[:4] = torch.tensor([1, 4, NEUTRAL, 2])
    return logits, labels


def empty_street(folder: Path) -> CocoDataset:
    return CocoDataset(write_coco(folder, TINY.size_hw, 2, []))


@pytest.mark.parametrize("scoring", SCORINGS)
def test_without_anchors_there_are_no_samples(scoring: Scoring) -> None:
    logits, labels = answers()
    assert [len(side) for side in true_log_probabilities(logits[:0], labels[:0], scoring)] == [0, 0]
    neutral = torch.full_like(labels, NEUTRAL)
    assert [len(side) for side in true_log_probabilities(logits, neutral, scoring)] == [0, 0]


def test_the_loss_by_hand() -> None:
    log_p = np.log(np.array([0.9, 0.5, 0.1]))
    assert focal_losses(log_p, 2.0) == pytest.approx(
        [-(0.1**2) * math.log(0.9), -(0.5**2) * math.log(0.5), -(0.9**2) * math.log(0.1)]
    )
    assert focal_losses(log_p, 0.5) == pytest.approx(
        [-math.sqrt(0.1) * math.log(0.9), -math.sqrt(0.5) * math.log(0.5), -math.sqrt(0.9) * math.log(0.1)]
    )


def test_p_t_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), 0.0], [math.log(8), 0.0, 0.0], [0.0, 9.0, 9.0]])
    labels = torch.tensor([1, 0, NEUTRAL])
    softmax = true_log_probabilities(logits, labels, "softmax")
    assert np.exp(softmax.positives) == pytest.approx([3 / 5])
    assert np.exp(softmax.negatives) == pytest.approx([8 / 10])
    sigmoid = true_log_probabilities(logits, labels, "sigmoid")
    assert np.exp(sigmoid.positives) == pytest.approx([3 / 4])
    assert np.exp(sigmoid.negatives) == pytest.approx([1 / 2, 1 / 2, 1 / 2])  # one of them at the anchor of the object
    objectness = true_log_probabilities(logits, labels, "objectness")
    assert np.exp(objectness.positives) == pytest.approx([1 / 2])
    assert np.exp(objectness.negatives) == pytest.approx([1 / 9])


def test_gamma_0_is_cross_entropy() -> None:
    logits, labels = answers()
    sides = true_log_probabilities(logits, labels, "softmax")
    known = labels != NEUTRAL
    wanted = torch.nn.functional.cross_entropy(logits[known], labels[known], reduction="sum")
    assert sum(focal_losses(side, 0.0).sum() for side in sides) == pytest.approx(float(wanted), rel=1e-6)


@pytest.mark.parametrize(("scoring", "kind"), [("softmax", "focal"), ("sigmoid", "sigmoid-focal")])
@pytest.mark.parametrize("alpha", [0.25, 0.8])
def test_with_alpha_on_either_side_it_is_what_training_sums(
    scoring: Scoring, kind: ClassLossKind, alpha: float
) -> None:
    logits, labels = answers()
    positives, negatives = true_log_probabilities(logits, labels, scoring)
    wanted = class_loss(logits[None], labels[None], ClassLossSettings(kind, alpha=alpha, gamma=2.0))
    summed = alpha * focal_losses(positives, 2.0).sum() + (1 - alpha) * focal_losses(negatives, 2.0).sum()
    assert summed == pytest.approx(float(wanted), rel=1e-5)


def test_objectness_is_the_first_term_of_what_training_sums() -> None:
    logits, labels = answers()
    positives, negatives = true_log_probabilities(logits, labels, "objectness")
    settings = ClassLossSettings("focal-objectness", alpha=0.25, gamma=2.0)
    logits[:, 1:] = torch.nn.functional.one_hot((labels - 1).clamp(min=0), 4) * 1000.0  # which one costs nothing
    summed = 0.25 * focal_losses(positives, 2.0).sum() + 0.75 * focal_losses(negatives, 2.0).sum()
    assert summed == pytest.approx(float(class_loss(logits[None], labels[None], settings)), rel=1e-5)


def test_an_easy_anchor_keeps_its_loss() -> None:
    """In float32 its p_t is 1, which would cost nothing."""
    sides = true_log_probabilities(torch.tensor([[30.0, 0.0]]), torch.tensor([0]), "softmax")
    assert focal_losses(sides.negatives, 0.0)[0] == pytest.approx(math.exp(-30.0), rel=1e-2, abs=0)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("log_p", [-0.7, 0.0])
def test_equal_losses_lie_on_the_diagonal(gamma: float, log_p: float) -> None:
    found = curve(np.full(1000, log_p, np.float32), gamma)
    assert found.losses == pytest.approx(found.fractions)
    assert found.hardest == pytest.approx(HARDEST)


def test_a_single_sample_carries_all() -> None:
    found = curve(np.array([-2.0], np.float32), 2.0)
    assert (found.fractions, found.losses) == ((0.0, 1.0), (0.0, 1.0))


def test_cumulative_by_hand() -> None:
    assert cumulative(np.array([1.0, 2.0, 5.0])) == pytest.approx([0, 1 / 8, 3 / 8, 1])


@pytest.mark.parametrize("gamma", [*GAMMAS, 20.0])
def test_a_thinned_curve_is_the_curve(gamma: float) -> None:
    log_p = -np.sort(np.random.default_rng(0).exponential(1.0, 20_000) ** 3).astype(np.float32)
    found, whole = curve(log_p, gamma), cumulative(focal_losses(log_p, gamma))
    assert 100 < len(found.fractions) <= 500
    assert (found.fractions[0], found.losses[0], found.fractions[-1], found.losses[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(found.fractions) > 0)
    drawn = np.interp(np.linspace(0, 1, len(whole)), found.fractions, found.losses)
    assert np.abs(drawn - whole).max() < 1 / 160
    assert found.hardest == pytest.approx([1 - whole[round(20_000 * (1 - share))] for share in HARDEST])


def test_a_hard_sample_has_its_own_step() -> None:
    found = curve(np.array([-1e-4] * 20_000 + [-2.0], np.float32), 0.0)
    assert found.fractions[-2] == pytest.approx(20_000 / 20_001, abs=1e-9)
    assert found.losses[-2] == pytest.approx(0.5, abs=1e-4)


def test_the_higher_gamma_the_more_the_hardest_carry() -> None:
    log_p = np.sort(np.log(np.random.default_rng(0).uniform(0.05, 1.0, 5000))).astype(np.float32)[::-1]
    for lower, higher in pairwise(GAMMAS):
        low, high = curve(log_p, lower), curve(log_p, higher)
        assert all(one < other for one, other in zip(low.hardest, high.hardest, strict=True))


@pytest.mark.parametrize("scoring", SCORINGS)
def test_pictures_are_prepared_as_in_evaluation_and_matched_as_in_training(
    street: CocoDataset, scoring: Scoring
) -> None:
    network = seeded_network(replace(TINY, scoring=scoring))
    segmenter = Segmenter(network)
    sides: list[list[np.ndarray[Any, Any]]] = [[], []]
    for index in range(len(street)):
        picture = torch.from_numpy(network_input(street.picture(index), TINY.size_hw))[None]
        with torch.inference_mode():
            logits = segmenter.infer(picture).class_logits[0]
        labels = match(segmenter.anchors, to_targets(street[index])).labels
        for side, log_p in zip(sides, true_log_probabilities(logits, labels, scoring), strict=True):
            side.append(log_p)
    found = analyse(network, street, FocalSettings())
    assert (found.scoring, found.pictures) == (scoring, 2)
    for analysis, log_ps in zip((found.positives, found.negatives), sides, strict=True):
        log_p = np.sort(np.concatenate(log_ps))[::-1]
        assert analysis.seen == analysis.sampled == len(log_p) > 0
        for gamma, got in zip(GAMMAS, analysis.curves, strict=True):
            wanted = curve(log_p, gamma)
            assert got.hardest == pytest.approx(wanted.hardest, abs=1e-4)  # of two pictures at once, other roundings


def test_no_more_is_kept_than_was_asked_for(street: CocoDataset) -> None:
    settings = FocalSettings(gammas=(2.0,), positives=3, negatives=7)
    found, again, other = (
        analyse(seeded_network(), street, replace(settings, seed=seed)).negatives for seed in (1, 1, 2)
    )
    assert (found.sampled, len(found.curves[0].fractions)) == (7, 8)
    assert found.seen > 7
    assert found == again != other


def test_a_picture_without_objects_gives_negatives_alone(street: CocoDataset, tmp_path: Path) -> None:
    rows = [annotation(1, rle(rectangle(TINY.size_hw, (10, 8, 61, 50))))]
    one = CocoDataset(write_coco(tmp_path / "one", TINY.size_hw, 1, rows))
    two = CocoDataset(write_coco(tmp_path / "two", TINY.size_hw, 2, rows))
    alone, beside = (analyse(seeded_network(), data, FocalSettings()) for data in (one, two))
    assert beside.positives.seen == alone.positives.seen > 0
    labels = match(Segmenter(seeded_network()).anchors, to_targets(one[0])).labels
    assert alone.negatives.seen == int((labels == BACKGROUND).sum())
    assert beside.negatives.seen == alone.negatives.seen + len(labels)


def test_what_is_too_small_for_training_is_background(tmp_path: Path) -> None:
    """From 4 pixels of the input on, which stands here at half the picture's size."""
    found = []
    for sides in ((), (6,), (8,)):
        shapes = [
            rectangle((128, 256), (20, 16, 120, 100)),
            *(rectangle((128, 256), (200, 60, 200 + n, 66)) for n in sides),
        ]
        rows = [annotation(1, rle(shape), category_id=3) for shape in shapes]
        dataset = CocoDataset(write_coco(tmp_path / f"{sides}", (128, 256), 1, rows))
        analysis = analyse(seeded_network(), dataset, FocalSettings())
        found.append((analysis.positives.seen, analysis.negatives.seen))
    assert found[1] == found[0]
    assert found[2][0] > found[0][0]


def test_so_many_pictures_are_drawn_by_the_seed(tmp_path: Path) -> None:
    rows = [annotation(n, rle(rectangle(TINY.size_hw, (4 * n, 8, 4 * n + 9 * n, 50)))) for n in range(1, 9)]
    data, told = CocoDataset(write_coco(tmp_path, TINY.size_hw, 8, rows)), list[tuple[int, int]]()
    network, settings = seeded_network(), FocalSettings(pictures=3)
    found = analyse(network, data, settings, show=lambda *counts: told.append(counts))
    assert (found.pictures, told) == (3, [(3, 3)])
    assert found == analyse(network, data, settings)
    seen = {analyse(network, data, replace(settings, seed=seed)).positives.seen for seed in range(4)}
    assert len(seen) > 1
    assert analyse(network, data, FocalSettings(pictures=99)).pictures == 8


def test_data_without_positives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected objects of person, .* but the 2 pictures hold none"):
        analyse(seeded_network(), empty_street(tmp_path), FocalSettings())


def test_data_without_negatives_are_refused(tmp_path: Path) -> None:
    rows = [
        annotation(1, rle(rectangle(TINY.size_hw, (10, 8, 61, 50)))),
        annotation(1, rle(np.ones(TINY.size_hw, np.uint8)), iscrowd=1),
    ]
    data = CocoDataset(write_coco(tmp_path, TINY.size_hw, 1, rows))
    inside = replace(TINY, anchors=replace(TINY.anchors, scales_px=((8.0,),) * 5))  # no anchor reaches far out of it
    with pytest.raises(DataError, match="no anchor holds background in any of the 1 pictures"):
        analyse(seeded_network(inside), data, FocalSettings())


def test_overlaps_are_no_probabilities(street: CocoDataset) -> None:
    with pytest.raises(DataError, match="first output has learned how well its box lies"):
        analyse(seeded_network(replace(TINY, scoring="gated")), street, FocalSettings())


def test_a_network_that_answers_no_numbers_is_refused(street: CocoDataset) -> None:
    network: Yolact = seeded_network()
    bias = network.get_submodule("prediction_layers.0.conf_layer").bias
    assert isinstance(bias, Tensor)
    bias.data[0] = math.nan
    with pytest.raises(DataError, match="numbers that are none"):
        analyse(network, street, FocalSettings())


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("gammas", (), "one or more numbers of 0 or more"),
        ("gammas", (0.0, -1.0), "one or more numbers of 0 or more"),
        ("gammas", (math.nan,), "one or more numbers of 0 or more"),
        ("gammas", (math.inf,), "one or more numbers of 0 or more"),
        ("gammas", (2.0, 1.0, 2.0), "every gamma once"),
        ("positives", 0, "1 or more"),
        ("negatives", -5, "1 or more"),
        ("pictures", 0, "1 or more"),
        ("seed", -1, "0 or more"),
    ],
)
def test_wrong_settings_are_told(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}: expected {expected}, but "):
        FocalSettings(**{field: value})
