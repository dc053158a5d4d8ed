"""How the focal loss shifts attention to hard anchors: its distribution over what a trained network answers.

As in figure 4 of Lin et al. 2017, "Focal Loss for Dense Object Detection", section 5.1: of sampled positives and of
sampled negatives, the losses are normalised to sum one, sorted from easy to hard, and summed up.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.anchors import make_anchors
from model.config import Scoring
from model.yolact import Yolact, normalise
from scene.errors import DataError, require
from training.data.dataset import InstanceDataset
from training.feed import to_targets
from training.matching import BACKGROUND, NEUTRAL, match
from training.reservoir import Reservoir
from training.transforms import NO_AUGMENTATION, Augmentation, augment

HARDEST = (0.01, 0.05, 0.2)
"""Shares of a side's samples of which it is told how much of the loss they carry."""

P_T: dict[Scoring, str] = {
    "softmax": "of an anchor, the softmax of its true class, which may be the background",
    "sigmoid": "of an anchor and a class, the sigmoid where the anchor is of that class, else one minus it",
    "objectness": "of an anchor, the sigmoid of its objectness where it holds an object, else one minus it",
}
"""What a sample is and what its p_t is, by how the logits are read; both as in ``training.class_losses``.

With ``softmax`` equation 5's p_t is the true class's. With ``sigmoid`` every class is a yes or no (section 3, equation
2), and so each is a sample: those of the true classes are the positives, and the negatives include the other classes'
at an anchor that holds an object. With ``objectness`` the focal loss teaches only the first output; which class it is,
is learned by plain cross entropy and left out here. Alpha is one factor of all positives and another of all negatives
in each of them, so that it does not change a normalised side.
"""

_WHOLE = replace(NO_AUGMENTATION, min_side=Augmentation.min_side)
"""Pictures as they are, but without the objects that are too small for training, whose anchors are background there."""
_BATCH = 8
_STEPS = 160
_PICTURES, _POSITIVES, _NEGATIVES = range(3)
"""Streams of random numbers: which pictures, and what is kept of either side."""


@dataclass(frozen=True)
class FocalSettings:
    """The exponents, how many samples of either side are kept, of how many pictures drawn from the data set (None for
    all), and the seed of what is drawn; the paper's figures but for the pictures."""

    gammas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    positives: int = 100_000
    negatives: int = 10_000_000
    pictures: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        fit = all(math.isfinite(gamma) and gamma >= 0 for gamma in self.gammas)
        require("gammas", bool(self.gammas) and fit, "one or more numbers of 0 or more", self.gammas)
        require("gammas", len(set(self.gammas)) == len(self.gammas), "every gamma once", self.gammas)
        for name in ("positives", "negatives", "pictures"):
            value = getattr(self, name)
            require(name, value is None or value >= 1, "1 or more", value)
        require("seed", self.seed >= 0, "0 or more", self.seed)


class Sides(NamedTuple):
    """log p_t, float32 [n] and [m], of the samples whose true answer is yes, and of the others."""

    positives: NDArray[np.float32]
    negatives: NDArray[np.float32]


@dataclass(frozen=True)
class Curve:
    """The cumulative loss of one side under one gamma.

    ``fractions`` of the samples, the easiest first, carry the shares ``losses`` of the loss; both begin at 0 and end at
    1, thinned to 500 points at most, between which lies at most 1/160 of either, or a single sample. ``hardest`` gives
    the share of the loss that each of ``HARDEST`` carries.
    """

    gamma: float
    fractions: tuple[float, ...]
    losses: tuple[float, ...]
    hardest: tuple[float, ...]


@dataclass(frozen=True)
class SideAnalysis:
    """One side's curves, a curve a gamma, of ``sampled`` samples out of ``seen``."""

    seen: int
    sampled: int
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class FocalAnalysis:
    """Both sides, on so many pictures; ``scoring`` says what a sample is (``P_T``)."""

    scoring: Scoring
    pictures: int
    positives: SideAnalysis
    negatives: SideAnalysis


def analyse(
    network: Yolact,
    dataset: InstanceDataset,
    settings: FocalSettings,
    device: torch.device | str = "cpu",
    show: Callable[[int, int], None] = lambda _done, _total: None,
) -> FocalAnalysis:
    """Run the network over the pictures, stretched to its input as evaluation does, match as training does, sample.

    An object of a class that the data set was not opened with is not there, so that its anchors are background; nor is
    one whose longer side is below the 4 pixels of the input from which training learns it. After each batch ``show`` is
    told how many pictures are done, and of how many. Raises ``DataError`` where the logits are no probabilities, the
    pictures hold no object, or the network answers numbers that are none.
    """
    config = network.config
    _require_probabilities(config.scoring)
    dataset = _drawn(dataset, settings)
    _require_objects(dataset)
    anchors = make_anchors(config)
    most = len(dataset) * len(anchors) * (config.class_count if config.scoring == "sigmoid" else 1)
    positives = Reservoir(min(settings.positives, most), np.random.default_rng([settings.seed, _POSITIVES]))
    negatives = Reservoir(min(settings.negatives, most), np.random.default_rng([settings.seed, _NEGATIVES]))
    network.to(device).eval()
    for start in range(0, len(dataset), _BATCH):
        stop = min(start + _BATCH, len(dataset))
        for sides in _answers(network, dataset, range(start, stop), anchors, device):
            positives.add(sides.positives)
            negatives.add(sides.negatives)
        show(stop, len(dataset))
    for side, name in ((positives, "an object"), (negatives, "background")):
        if not side.seen:
            raise DataError(f"no anchor holds {name} in any of the {len(dataset)} pictures: add others")
    gammas = settings.gammas
    return FocalAnalysis(config.scoring, len(dataset), _analysis(positives, gammas), _analysis(negatives, gammas))


def true_log_probabilities(logits: Tensor, labels: Tensor, scoring: Scoring) -> Sides:
    """log p_t of one picture's anchors, logits [N, C + 1] and labels int64 [N] as ``Matches`` has them.

    Neutral anchors are left out. In float64 until the end: in float32 easy anchors would all have a p_t of 1.
    """
    _require_probabilities(scoring)
    known = labels != NEUTRAL
    logits, labels = logits[known].double(), labels[known]
    positive = labels > BACKGROUND
    if scoring == "softmax":
        log_p = logits.log_softmax(dim=-1).gather(1, labels[:, None])[:, 0]
    elif scoring == "sigmoid":
        positive = F.one_hot(labels, logits.shape[-1])[:, 1:].bool()
        log_p = F.logsigmoid(torch.where(positive, logits[:, 1:], -logits[:, 1:]))
    else:
        log_p = F.logsigmoid(torch.where(positive, logits[:, 0], -logits[:, 0]))
    return Sides(log_p[positive].float().numpy(), log_p[~positive].float().numpy())


def focal_losses(log_p: NDArray[np.floating], gamma: float) -> NDArray[np.float64]:
    """-(1 - p_t)^gamma log p_t (Lin et al. 2017, equation 4) of log p_t [n]: float64 [n]."""
    log_p = log_p.astype(np.float64)
    losses: NDArray[np.float64] = (-np.expm1(log_p)) ** gamma * -log_p
    return losses


def cumulative(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the loss that the first i of ascending losses [n] carry, i from 0 to n: float64 [n + 1].

    Where nothing is lost at all, all carry the same.
    """
    shares = np.concatenate([[0.0], np.cumsum(losses)])
    if shares[-1] == 0:
        return np.linspace(0.0, 1.0, len(shares))
    shares /= shares[-1]
    return shares


def curve(log_p: NDArray[np.float32], gamma: float) -> Curve:
    """The cumulative loss under a gamma of falling log p_t [n], n at least 1: the easiest first, whatever the gamma."""
    shares, count = cumulative(focal_losses(log_p, gamma)), len(log_p)
    evenly = np.linspace(0.0, 1.0, _STEPS + 1)
    # A hard end that carries all is one step of even fractions: it needs points at even losses, too, and before them.
    steep = np.searchsorted(shares, evenly).clip(0, count)
    points = np.unique(np.concatenate([np.floor(evenly * count).astype(np.int64), steep, (steep - 1).clip(0)]))
    return Curve(
        gamma=gamma,
        fractions=tuple((points / count).tolist()),
        losses=tuple(shares[points].tolist()),
        hardest=tuple(1.0 - _at(shares, count * (1.0 - share)) for share in HARDEST),
    )


def _at(shares: NDArray[np.float64], place: float) -> float:
    """Between two samples the curve is a straight line."""
    below = math.floor(place)
    return float(np.interp(place, [below, below + 1], shares[below : below + 2]))


def _analysis(side: Reservoir, gammas: Sequence[float]) -> SideAnalysis:
    log_p = np.sort(side.sample)[::-1]
    return SideAnalysis(side.seen, len(log_p), tuple(curve(log_p, gamma) for gamma in gammas))


def _answers(
    network: Yolact, dataset: InstanceDataset, indices: range, anchors: Tensor, device: torch.device | str
) -> list[Sides]:
    """What the network answers to these pictures, one after the other."""
    config = network.config
    unused = np.random.default_rng(0)  # nothing is drawn where nothing is augmented
    samples = [augment(dataset[index], _WHOLE, config.size_hw, unused) for index in indices]
    pictures = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
    with torch.inference_mode():
        logits = network(normalise(pictures, config)).class_logits.cpu()
        if not bool(torch.isfinite(logits).all()):
            raise DataError("the network answers numbers that are none: its training diverged, use an earlier file")
        labels = [match(anchors, to_targets(sample)).labels for sample in samples]
        return [true_log_probabilities(*pair, config.scoring) for pair in zip(logits, labels, strict=True)]


def _drawn(dataset: InstanceDataset, settings: FocalSettings) -> InstanceDataset:
    if settings.pictures is None or settings.pictures >= len(dataset):
        return dataset
    rng = np.random.default_rng([settings.seed, _PICTURES])
    return dataset.pick(np.sort(rng.choice(len(dataset), settings.pictures, replace=False)).tolist())


def _require_objects(dataset: InstanceDataset) -> None:
    labels = (label for index in range(len(dataset)) for label in dataset.classes_on(index))
    if all(ignored for _, ignored in labels):
        raise DataError(
            f"expected objects of {', '.join(dataset.class_names)}, but the {len(dataset)} pictures hold none, so that "
            "there are no positives: choose other data or more --pictures"
        )


def _require_probabilities(scoring: Scoring) -> None:
    if scoring not in P_T:
        raise DataError(
            "expected class logits that a cross entropy or a focal loss has taught, but this network's first output "
            "has learned how well its box lies, which is no probability of an object: analyse one that was trained "
            "with another --class-loss"
        )
