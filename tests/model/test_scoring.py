"""Probabilities out of class logits, each way of reading them against its formula, one number at a time."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import Scoring
from model.scoring import GATE, class_probabilities, prior_logits

SCORINGS: tuple[Scoring, ...] = get_args(Scoring)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def literal(row: list[float], scoring: Scoring) -> list[float]:
    first, *rest = row
    if scoring == "softmax":
        return softmax(row)[1:]
    if scoring == "sigmoid":
        return [sigmoid(value) for value in rest]
    factor = sigmoid(first) if scoring == "objectness" else float(sigmoid(first) > 0.10)
    return [factor * share for share in softmax(rest)]


@pytest.mark.parametrize("scoring", SCORINGS)
def test_no_anchors_have_no_probabilities(scoring: Scoring) -> None:
    assert class_probabilities(torch.zeros(2, 0, 9), scoring).shape == (2, 0, 8)


@pytest.mark.parametrize("classes", [1, 8, 80])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_probabilities_one_by_one(scoring: Scoring, classes: int) -> None:
    logits = torch.randn(2, 30, classes + 1, generator=torch.Generator().manual_seed(classes)) * 3
    expected = [[literal(row, scoring) for row in picture] for picture in logits.tolist()]
    torch.testing.assert_close(class_probabilities(logits, scoring), torch.tensor(expected))


def test_the_gate_lets_through_what_exceeds_a_tenth() -> None:
    edge = math.log(GATE / (1 - GATE))
    logits = torch.tensor([[[edge - 0.01, 0.0, 0.0], [edge + 0.01, 0.0, 0.0]]])
    assert class_probabilities(logits, "gated").tolist() == [[[0.0, 0.0], [0.5, 0.5]]]


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_single_class_needs_no_division(scoring: Scoring) -> None:
    assert bool(torch.isfinite(prior_logits(scoring, 1, 0.01)).all())


@given(st.sampled_from(("softmax", "objectness")), st.integers(1, 90), st.floats(1e-4, 0.9))
def test_all_classes_together_have_the_priors_probability(scoring: Scoring, classes: int, foreground: float) -> None:
    probabilities = class_probabilities(prior_logits(scoring, classes, foreground)[None, None], scoring)[0, 0]
    assert float(probabilities.sum()) == pytest.approx(foreground, rel=1e-4)
    assert probabilities.tolist() == pytest.approx([foreground / classes] * classes, rel=1e-4), "none before another"


@given(st.integers(1, 90), st.floats(1e-4, 0.9))
def test_each_sigmoid_has_the_priors_probability(classes: int, foreground: float) -> None:
    probabilities = class_probabilities(prior_logits("sigmoid", classes, foreground)[None, None], "sigmoid")[0, 0]
    assert probabilities.tolist() == pytest.approx([foreground] * classes, rel=1e-4)


def test_a_gate_looks_at_no_anchor_of_a_prior_below_it() -> None:
    below, above = (prior_logits("gated", 8, foreground)[None, None] for foreground in (0.09, 0.11))
    assert not class_probabilities(below, "gated").any()
    assert float(class_probabilities(above, "gated").sum()) == pytest.approx(1.0)
