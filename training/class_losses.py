"""What teaches the classes: OHEM's cross entropy and its rivals, each summed over a batch.

All take ``logits`` [B, N, C + 1], background first, and ``labels`` int64 [B, N]: class + 1, background 0, neutral -1;
neutral anchors teach nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import area, decode_boxes, intersection
from model.config import Scoring
from training.matching import BACKGROUND, NEUTRAL, Matches

ClassLossKind = Literal[
    "ohem", "balanced-ohem", "plain-ohem", "focal", "sigmoid-focal", "focal-star", "objectness", "focal-objectness"
]

_FOCAL = ("focal", "sigmoid-focal", "focal-star", "focal-objectness")
_SCORINGS: dict[ClassLossKind, Scoring] = {
    "sigmoid-focal": "sigmoid",
    "focal-star": "sigmoid",
    "objectness": "gated",
    "focal-objectness": "objectness",
}
"""How logits that these losses teach are read; of all others, softmax."""

_LEAST = 1e-12


@dataclass(frozen=True)
class ClassLossSettings:
    """Which loss, and its figures.

    ``negatives_per_positive`` is OHEM's; ``plain-ohem`` instead takes the hardest ``hardest`` anchors of a picture,
    positive or not. ``alpha`` weighs an object's terms and 1 - alpha the background's; ``gamma`` turns down what is
    easy (Lin et al. 2017, equation 5), and with ``beta`` shapes FL* (appendix B). ``smallest_union`` is a share of the
    picture below which the published code takes no union of two boxes, so that small objects are taught a smaller
    overlap than theirs: 0.1 there, 1e-12 for the overlap itself. Under a focal loss, training starts with a probability
    of ``foreground_prior`` that an anchor holds an object, lest the many that hold none drown the others (section 4.1).
    """

    kind: ClassLossKind = "ohem"
    negatives_per_positive: int = 3
    hardest: int = 256
    alpha: float = 0.25
    gamma: float = 2.0
    beta: float = 1.0
    smallest_union: float = 0.1
    foreground_prior: float = 0.01

    @property
    def scoring(self) -> Scoring:
        """How the logits that it teaches must be read: ``YolactConfig.scoring`` of the network."""
        return _SCORINGS.get(self.kind, "softmax")

    @property
    def is_focal(self) -> bool:
        """Whether it looks at all anchors at once and needs the prior."""
        return self.kind in _FOCAL


class ClassCounts:
    """How often each class has been learned so far, for ``balanced-ohem``: [C + 1], the background's first."""

    def __init__(self, classes: int) -> None:
        self.seen = torch.zeros(classes + 1, dtype=torch.float64)

    def weights(self, labels: Tensor) -> Tensor:
        """Count these labels [n], too; the weight of each."""
        return self.counted(torch.bincount(labels.cpu(), minlength=len(self.seen))).weights(labels)

    def counted(self, times: Tensor) -> "ClassShares":
        """Count every class so many ``times`` [C + 1], too; the shares of them all since the beginning."""
        self.seen += times.cpu()
        return ClassShares(self.seen / self.seen.sum().clamp(min=1))


@dataclass(frozen=True)
class ClassShares:
    """Each class's share of what has been learned, [C + 1], with a batch that may come in parts already counted."""

    shares: Tensor

    def weights(self, labels: Tensor) -> Tensor:
        """The weight of each of these labels [n]: the rarer the more, one on average over the classes."""
        count = len(self.shares)
        shares = self.shares.to(labels.device)
        return (1 - shares[labels]).clamp(min=1 / count).float() * count / (count - 1)


def times_learned(labels: Tensor, settings: ClassLossSettings, classes: int) -> Tensor:
    """How often each class, the background first, is learned from ``labels`` [B, N]: int64 [C + 1].

    The hardest negatives are not known before the network has answered, but how many they are is.
    """
    times = torch.bincount(labels[labels > BACKGROUND], minlength=classes + 1)
    negatives = (labels == BACKGROUND).sum(dim=1)
    times[BACKGROUND] = torch.minimum(_wanted_negatives(labels, settings)[:, 0], negatives).sum()
    return times


def class_loss(
    logits: Tensor,
    labels: Tensor,
    settings: ClassLossSettings,
    counts: ClassCounts | ClassShares | None = None,
    overlaps: Tensor | None = None,
) -> Tensor:
    """The settings' loss, summed. ``counts`` is for ``balanced-ohem``; ``overlaps`` [positives], the IoU of predicted
    and true boxes, in the order of ``labels``, for ``objectness``."""
    kind = settings.kind
    if settings.is_focal:
        known = labels != NEUTRAL
        logits, labels = logits[known], labels[known]
        if kind == "focal":
            return _softmax_focal(logits, labels, settings)
        if kind == "focal-objectness":
            return _focal_objectness(logits, labels, settings)
        return _sigmoid_focal(logits, labels, settings)
    if kind == "objectness":
        assert overlaps is not None, "objectness learns the overlap of predicted boxes"
        return _objectness(logits, labels, overlaps)
    chosen = _hardest(logits, labels, settings)
    if kind == "balanced-ohem":
        assert counts is not None, "balanced OHEM counts classes"
        each = F.cross_entropy(logits[chosen], labels[chosen], reduction="none")
        return (each * counts.weights(labels[chosen])).sum()
    return F.cross_entropy(logits[chosen], labels[chosen], reduction="sum")


def box_overlaps(
    offsets: Tensor, anchors_cxcywh: Tensor, matches: Sequence[Matches], settings: ClassLossSettings
) -> Tensor:
    """IoU of the predicted and the true box of every positive anchor of a batch, [positives]; ``offsets`` [B, N, 4]."""
    positive = torch.stack([found.labels for found in matches]) > BACKGROUND
    wanted = torch.stack([found.offsets for found in matches])
    anchors = anchors_cxcywh.expand(*positive.shape, 4)[positive]
    boxes, truth = (decode_boxes(rows[positive], anchors) for rows in (offsets.detach(), wanted))
    shared = intersection(boxes[:, None], truth[:, None])[:, 0, 0]
    return shared / (area(boxes) + area(truth) - shared).clamp(min=settings.smallest_union)


def _hardest(logits: Tensor, labels: Tensor, settings: ClassLossSettings) -> Tensor:
    """Which anchors are learned, bool [B, N]: all positives and each picture's hardest negatives (SSD, section 2.2)."""
    positive = labels > BACKGROUND
    hardness = (logits.logsumexp(dim=-1) - logits[..., BACKGROUND]).detach()
    if settings.kind == "plain-ohem":
        truth = labels.clamp(min=BACKGROUND)[..., None]
        hardness = (logits.logsumexp(dim=-1) - logits.gather(-1, truth)[..., 0]).detach()
        return (_rank(hardness.masked_fill(labels == NEUTRAL, -1.0)) < settings.hardest) & (labels != NEUTRAL)
    rank = _rank(hardness.masked_fill(labels != BACKGROUND, 0.0))
    return positive | ((rank < _wanted_negatives(labels, settings)) & (labels == BACKGROUND))


def _wanted_negatives(labels: Tensor, settings: ClassLossSettings) -> Tensor:
    """How many negatives each picture is to teach, [B, 1]."""
    positives = (labels > BACKGROUND).sum(dim=1, keepdim=True)
    return (positives * settings.negatives_per_positive).clamp(max=labels.shape[1] - 1)


def _rank(values: Tensor) -> Tensor:
    """The place of each of [B, N] in its row's falling order, from 0."""
    return values.argsort(dim=1, descending=True).argsort(dim=1)


def _softmax_focal(logits: Tensor, labels: Tensor, settings: ClassLossSettings) -> Tensor:
    """Focal loss of the softmax (Lin et al. 2017, equation 5, with p_t of the true class): [n, C + 1], [n]."""
    log_p = logits.log_softmax(dim=-1).gather(1, labels[:, None])[:, 0]
    return -(_alphas(labels > BACKGROUND, settings) * _turned_down(log_p, settings.gamma) * log_p).sum()


def _sigmoid_focal(logits: Tensor, labels: Tensor, settings: ClassLossSettings) -> Tensor:
    """Every class yes or no (Lin et al. 2017, section 3), or FL*; the background's output is not used."""
    wanted = F.one_hot(labels, logits.shape[-1])[:, 1:].bool()
    margins = torch.where(wanted, logits[:, 1:], -logits[:, 1:])
    alphas = _alphas(wanted, settings)
    if settings.kind == "focal-star":
        return -(alphas * F.logsigmoid(settings.gamma * margins + settings.beta)).sum() / settings.gamma
    log_p = F.logsigmoid(margins)
    return -(alphas * _turned_down(log_p, settings.gamma) * log_p).sum()


def _focal_objectness(logits: Tensor, labels: Tensor, settings: ClassLossSettings) -> Tensor:
    """The first output says whether there is an object, by focal loss; the others which, by cross entropy."""
    positive = labels > BACKGROUND
    log_p = F.logsigmoid(torch.where(positive, logits[:, 0], -logits[:, 0]))
    is_object = -(_alphas(positive, settings) * _turned_down(log_p, settings.gamma) * log_p).sum()
    return is_object + _which(logits, labels)


def _objectness(logits: Tensor, labels: Tensor, overlaps: Tensor) -> Tensor:
    """The first output says how well the box of an object lies, and 0 of the background; the others which."""
    positive, negative = labels > BACKGROUND, labels == BACKGROUND
    how_well = F.binary_cross_entropy_with_logits(logits[..., 0][positive], overlaps, reduction="sum")
    nothing = F.softplus(logits[..., 0][negative]).sum()
    return how_well + nothing + _which(logits.flatten(0, -2), labels.flatten())


def _which(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy among the classes, without the background, over the positives: [n, C + 1], [n]."""
    positive = labels > BACKGROUND
    return F.cross_entropy(logits[positive, 1:], labels[positive] - 1, reduction="sum")


def _turned_down(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma, whose slope at p = 1 would be infinite below gamma 1, and times a loss of 0 no number."""
    return (1 - log_p.exp()).clamp_min(_LEAST) ** gamma


def _alphas(is_object: Tensor, settings: ClassLossSettings) -> Tensor:
    return torch.where(is_object, settings.alpha, 1 - settings.alpha)
