"""What teaches the classes, each against its formula one number at a time."""

import math

import pytest
import torch
from torch import Tensor

from model.boxes import encode_boxes
from model.scoring import class_probabilities
from training.class_losses import (
    ClassCounts,
    ClassLossKind,
    ClassLossSettings,
    box_overlaps,
    class_loss,
    times_learned,
)
from training.matching import BACKGROUND, NEUTRAL, Matches

KINDS: tuple[ClassLossKind, ...] = (
    *("ohem", "balanced-ohem", "plain-ohem", "focal", "sigmoid-focal", "focal-star", "objectness", "focal-objectness"),
)


def case(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [3, 40, 5] and labels; the last picture has no object."""
    logits = torch.randn(3, 40, 5, generator=torch.Generator().manual_seed(seed)) * 2
    labels = torch.zeros(3, 40, dtype=torch.int64)
    labels[0, :4] = torch.tensor([1, 4, NEUTRAL, 2])
    labels[1, 7] = 3
    return logits, labels


def found(kind: ClassLossKind, logits: Tensor, labels: Tensor, **figures: float) -> Tensor:
    positives = int((labels > BACKGROUND).sum())
    overlaps = torch.linspace(0.2, 0.9, positives)
    settings = ClassLossSettings(kind, hardest=9, **figures)  # type: ignore[arg-type]
    return class_loss(logits, labels, settings, ClassCounts(logits.shape[-1] - 1), overlaps)


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_without_objects_has_a_finite_loss(kind: ClassLossKind) -> None:
    logits, labels = case()
    logits = logits[2:].requires_grad_()
    loss = found(kind, logits, labels[2:])
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss))
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_neutral_anchor_teaches_nothing(kind: ClassLossKind) -> None:
    logits, labels = case()
    before = float(found(kind, logits, labels))
    logits[0, 2] += 50.0
    assert float(found(kind, logits, labels)) == pytest.approx(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_teaches_what_its_scoring_reads(kind: ClassLossKind) -> None:
    """Descend it on one object and three anchors without: what is then read is high there and low elsewhere."""
    labels = torch.tensor([[2, 0, 0, 0]])
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    optimiser = torch.optim.SGD([logits], lr=0.5)
    settings = ClassLossSettings(kind)
    for _ in range(200):
        optimiser.zero_grad()
        class_loss(logits, labels, settings, ClassCounts(3), torch.tensor([0.9])).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    probabilities = class_probabilities(logits.detach(), settings.scoring)[0]
    assert int(probabilities[0].argmax()) == 1
    assert float(probabilities[0, 1]) > 0.75
    assert float(probabilities[1:].max()) < 0.2


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.0), (0.75, 5.0)])
def test_focal_loss_of_the_softmax(alpha: float, gamma: float) -> None:
    logits, labels = case()
    expected = 0.0
    for row, label in zip(logits.flatten(0, 1).double(), labels.flatten().tolist(), strict=True):
        if label != NEUTRAL:
            p = float(row.softmax(dim=0)[label])
            expected -= (alpha if label else 1 - alpha) * (1 - p) ** gamma * math.log(p)
    assert float(found("focal", logits, labels, alpha=alpha, gamma=gamma)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.0)])
def test_focal_loss_of_every_class(alpha: float, gamma: float) -> None:
    logits, labels = case()
    expected = 0.0
    for row, label in zip(logits.flatten(0, 1).tolist(), labels.flatten().tolist(), strict=True):
        for index in range(1, 5):
            if label != NEUTRAL:
                log_p = log_sigmoid(row[index] if index == label else -row[index])
                expected -= (alpha if index == label else 1 - alpha) * (1 - math.exp(log_p)) ** gamma * log_p
    assert float(found("sigmoid-focal", logits, labels, alpha=alpha, gamma=gamma)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("gamma", "beta"), [(2.0, 1.0), (4.0, 0.0)])
def test_focal_star(gamma: float, beta: float) -> None:
    logits, labels = case()
    expected = 0.0
    for row, label in zip(logits.flatten(0, 1).tolist(), labels.flatten().tolist(), strict=True):
        for index in range(1, 5):
            if label != NEUTRAL:
                margin = row[index] if index == label else -row[index]
                expected -= (0.25 if index == label else 0.75) * log_sigmoid(gamma * margin + beta) / gamma
    assert float(found("focal-star", logits, labels, gamma=gamma, beta=beta)) == pytest.approx(expected, rel=1e-5)


def test_plain_ohem_takes_the_hardest_of_all() -> None:
    logits, labels = case()
    expected = 0.0
    for picture, wanted in zip(logits.double(), labels.tolist(), strict=True):
        log_p = picture.log_softmax(dim=1)
        each = sorted((-float(log_p[row, label]) for row, label in enumerate(wanted) if label != NEUTRAL), reverse=True)
        expected += sum(each[:9])
    assert float(found("plain-ohem", logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_balanced_classes_count_on_from_batch_to_batch() -> None:
    counts = ClassCounts(3)
    first = counts.weights(torch.tensor([0, 0, 0, 1]))
    assert first.tolist() == pytest.approx([share * 4 / 3 for share in (0.25, 0.25, 0.25, 0.75)])
    second = counts.weights(torch.tensor([2, 0]))
    assert counts.seen.tolist() == [4, 1, 1, 0]
    assert second.tolist() == pytest.approx([5 / 6 * 4 / 3, 1 / 3 * 4 / 3])
    assert ClassCounts(3).weights(torch.tensor([2])).tolist() == pytest.approx([0.25 * 4 / 3]), (
        "never less than one of all"
    )


def test_overlaps_of_positives_are_in_their_order_and_of_no_small_union() -> None:
    anchors = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.8, 0.8]])
    truth = torch.tensor([[0.3, 0.3, 0.7, 0.7], [0.2, 0.2, 0.4, 0.4], [0.2, 0.2, 1.0, 1.0]])
    offsets = encode_boxes(truth, anchors)
    found = [Matches(torch.tensor(labels), torch.zeros(3), offsets) for labels in ([0, 2, NEUTRAL], [1, 0, 3])]
    predicted = torch.zeros(2, 3, 4)  # the anchors themselves, which are the true boxes here
    overlaps = box_overlaps(predicted, anchors, found, ClassLossSettings(smallest_union=1e-12))
    assert overlaps.tolist() == pytest.approx([1.0, 1.0, 1.0])
    published = box_overlaps(predicted, anchors, found, ClassLossSettings())
    assert published.tolist() == pytest.approx([0.04 / 0.1, 1.0, 1.0]), "the small one's union is taken for 0.1"


def literal_class_loss(logits: Tensor, labels: Tensor, ratio: int) -> float:
    total = 0.0
    for picture, wanted in zip(logits.double(), labels.tolist(), strict=True):
        probabilities = picture.softmax(dim=1)
        positives = [row for row, label in enumerate(wanted) if label > BACKGROUND]
        negatives = [row for row, label in enumerate(wanted) if label == BACKGROUND]
        negatives.sort(key=lambda row: float(probabilities[row, 0]))
        for row in positives + negatives[: ratio * len(positives)]:
            total -= float(probabilities[row, wanted[row]].log())
    return total


@pytest.mark.parametrize("ratio", [0, 1, 3, 1000])
def test_ohem_takes_the_hardest_negatives_of_each_picture(ratio: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 40, 5, generator=generator)
    labels = torch.zeros(3, 40, dtype=torch.int64)
    labels[0, :4] = torch.tensor([1, 4, NEUTRAL, 2])
    labels[1, 7] = 3
    found = class_loss(logits, labels, ClassLossSettings(negatives_per_positive=ratio))
    assert float(found) == pytest.approx(literal_class_loss(logits, labels, ratio), rel=1e-5)


def test_class_loss_of_a_neutral_anchor_is_nothing() -> None:
    logits = torch.zeros(1, 6, 3)
    labels = torch.tensor([[1, NEUTRAL, NEUTRAL, 0, 0, 0]])
    before = float(class_loss(logits, labels, ClassLossSettings()))
    logits[0, 1:3, 2] = 100.0
    assert float(class_loss(logits, labels, ClassLossSettings())) == pytest.approx(before)
    assert before == pytest.approx(4 * float(torch.tensor(3.0).log()))


@pytest.mark.parametrize("seed", range(3))
def test_how_often_a_class_is_learned_is_known_before_the_answer(seed: int) -> None:
    """What balanced OHEM counts once it has chosen; the last picture has too few negatives, the second no object."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 40, 4, generator=generator)
    labels = torch.full((3, 40), BACKGROUND)
    labels[0, :4] = torch.tensor([1, 3, 3, NEUTRAL])
    labels[2] = NEUTRAL
    labels[2, 5:12] = torch.tensor([1, 2, 3, 1, BACKGROUND, BACKGROUND, BACKGROUND])
    counts, settings = ClassCounts(3), ClassLossSettings("balanced-ohem")
    loss = class_loss(logits, labels, settings, counts)
    times = times_learned(labels, settings, classes=3)
    assert times.tolist() == counts.seen.tolist() == [3 * 3 + 3, 3, 1, 3]
    ahead = ClassCounts(3).counted(times)
    assert torch.equal(class_loss(logits, labels, settings, ahead), loss)
    assert times_learned(labels[1:2], settings, classes=3).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", ["focal", "sigmoid-focal", "focal-objectness"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_of_what_is_certain_a_focal_losss_gradient_is_a_number(kind: ClassLossKind, gamma: float) -> None:
    logits, labels = case()
    certain = torch.full_like(logits, -200.0)
    certain[..., 0] = 200.0
    certain.requires_grad_()
    (gradient,) = torch.autograd.grad(found(kind, certain, labels, gamma=gamma), certain)
    assert gradient.isfinite().all()
