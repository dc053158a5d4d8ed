"""What samples say: percentiles, and how far a ratio can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50, 90, 95, 99)
RESAMPLES = 2000
CONFIDENCE = 0.99
_SEED = 1


@dataclass(frozen=True)
class Ratio:
    """One median over another, with the interval that holds the true one at ``CONFIDENCE``."""

    ratio: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether equality lies outside the interval."""
        return not self.low <= 1 <= self.high


def summary(values: Sequence[float]) -> dict[str, float]:
    """``count``, ``median``, ``p90``, ``p95``, ``p99`` and ``max`` of samples; only ``count`` where there are none."""
    if not len(values):
        return {"count": 0}
    names = ["median", *(f"p{share}" for share in PERCENTILES[1:])]
    found = dict(zip(names, np.percentile(values, PERCENTILES), strict=True))
    return {"count": len(values), **{name: round(float(value), 4) for name, value in found.items()}, "max": max(values)}


def paired_ratio(values: Sequence[float], base: Sequence[float]) -> Ratio:
    """The ratio of medians of two series measured round by round, such as interleaved runs.

    A moving-block bootstrap (Kuensch 1989): whole stretches of rounds are drawn, the same for both series, so that what
    drifted during the run widens the interval instead of passing for certainty.
    """
    ours, theirs = np.asarray(values, np.float64), np.asarray(base, np.float64)
    if len(ours) != len(theirs):
        raise ValueError(f"paired series have the same length, but {len(ours)} and {len(theirs)} came")
    rows = _blocks(len(ours), np.random.default_rng(_SEED))
    return _interval(np.median(ours) / np.median(theirs), np.median(ours[rows], 1) / np.median(theirs[rows], 1))


def ratio(values: Sequence[float], base: Sequence[float]) -> Ratio:
    """The ratio of medians of two series that were measured apart; each is resampled by itself."""
    ours, theirs = np.asarray(values, np.float64), np.asarray(base, np.float64)
    rng = np.random.default_rng(_SEED)
    drawn = [np.median(series[_blocks(len(series), rng)], 1) for series in (ours, theirs)]
    return _interval(np.median(ours) / np.median(theirs), drawn[0] / drawn[1])


def ratio_of_ratios(
    values: tuple[Sequence[float], Sequence[float]], base: tuple[Sequence[float], Sequence[float]]
) -> Ratio:
    """How a median over its paired base changed between two runs: what slowed the whole machine cancels out."""
    rng = np.random.default_rng(_SEED)
    medians, drawn = [], []
    for series, paired in (values, base):
        ours, theirs = np.asarray(series, np.float64), np.asarray(paired, np.float64)
        rows = _blocks(len(ours), rng)
        medians.append(np.median(ours) / np.median(theirs))
        drawn.append(np.median(ours[rows], 1) / np.median(theirs[rows], 1))
    return _interval(medians[0] / medians[1], drawn[0] / drawn[1])


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index (1984) of what each of n got: 1 where all got the same, 1 / n where one got all."""
    got = np.asarray(shares, np.float64)
    return float(got.sum() ** 2 / (len(got) * (got**2).sum())) if got.any() else 1.0


def totals(samples: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """``summary`` of each stage."""
    return {name: summary(values) for name, values in samples.items()}


def _blocks(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``RESAMPLES`` rows of ``count`` indices, drawn in stretches of the length ``count ** (1 / 2)``."""
    length = max(1, round(count**0.5))
    starts = rng.integers(0, count - length + 1, (RESAMPLES, -(-count // length)))
    return (starts[..., None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :count]


def _interval(found: float, drawn: NDArray[np.float64]) -> Ratio:
    low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Ratio(round(float(found), 5), round(float(low), 5), round(float(high), 5))
