"""What samples say: percentiles, and how far a ratio can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50, 90, 95, 99)
CONFIDENCE = 0.95
_RESAMPLES = 4000
_BATCHES = 8
LEAST = 8
"""Samples from which an interval can be told."""

_SEED = 1
_LEAST_SPREAD = 0.2
"""Of a resample, relative to the sample's own: one that happens to draw equal values knows nothing."""

Series = Sequence[float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """How many times as large, with the interval that holds the true value with the asked confidence."""

    ratio: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether equality lies outside the interval."""
        return not self.low <= 1 <= self.high


def summary(values: Series) -> dict[str, float]:
    """``count``, ``median``, ``p90``, ``p95``, ``p99`` and ``max`` of samples; only ``count`` where there are none."""
    if not len(values):
        return {"count": 0}
    names = ["median", *(f"p{share}" for share in PERCENTILES[1:])]
    found = dict(zip(names, np.percentile(values, PERCENTILES), strict=True))
    return {"count": len(values), **{name: round(float(value), 4) for name, value in found.items()}, "max": max(values)}


def totals(samples: Mapping[str, Series]) -> dict[str, dict[str, float]]:
    """``summary`` of each stage."""
    return {name: summary(values) for name, values in samples.items()}


def paired_ratio(values: Series, base: Series, confidence: float = CONFIDENCE) -> Ratio:
    """The ratio of two series that were measured round by round, such as interleaved runs.

    The rounds are cut into eight batches in order of time, each with one ratio of medians, and the interval is
    their studentised bootstrap (bootstrap-t; Efron and Tibshirani 1993, section 12.5): what drifted during the run
    makes batches differ, and so widens it. Both series need the same
    length, eight rounds at least.
    """
    return _interval([_batched(values, base)], [1], confidence)


def ratio(values: Series, base: Series, confidence: float = CONFIDENCE) -> Ratio:
    """The same of two series that were measured apart."""
    return _interval([_batched(values), _batched(base)], [1, -1], confidence)


def ratio_of_ratios(
    values: tuple[Series, Series], base: tuple[Series, Series], confidence: float = CONFIDENCE
) -> Ratio:
    """How a paired ratio changed between two runs: what slowed the whole machine cancels out."""
    return _interval([_batched(*values), _batched(*base)], [1, -1], confidence)


def scaled_ratio(values: tuple[Series, Series], base: tuple[Series, Series], confidence: float = CONFIDENCE) -> Ratio:
    """The same where value and scale of a run were not measured round by round."""
    groups = [_batched(series) for pair in (values, base) for series in pair]
    return _interval(groups, [1, -1, -1, 1], confidence)


def jain(shares: Series) -> float:
    """Jain's fairness index (1984) of what each of n got: 1 where all got the same, 1 / n where one got all."""
    got = np.asarray(shares, np.float64)
    return float(got.sum() ** 2 / (len(got) * (got**2).sum())) if got.any() else 1.0


def _batched(values: Series, base: Series | None = None) -> Floats:
    """The logarithm of each batch's median, or of its ratio of medians."""
    if base is not None and len(values) != len(base):
        raise ValueError(f"paired series have the same length, but {len(values)} and {len(base)} came")
    if len(values) < LEAST:
        raise ValueError(f"an interval needs {LEAST} samples at least, but {len(values)} came")
    parts = np.array_split(np.arange(len(values)), _BATCHES)
    logs = _log_medians(values, parts)
    return logs if base is None else logs - _log_medians(base, parts)


def _log_medians(values: Series, parts: list[NDArray[np.int64]]) -> Floats:
    found = np.asarray(values, np.float64)
    return np.log([max(float(np.median(found[part])), 1e-12) for part in parts])


def _interval(groups: list[Floats], signs: list[int], confidence: float) -> Ratio:
    """The signed sum of the groups' means, as a ratio, with its bootstrap-t interval."""
    rng = np.random.default_rng(_SEED)
    found, error = _sum_and_error(groups, signs)
    if error == 0:
        return Ratio(*(round(float(np.exp(found)), 5),) * 3)
    drawn = [group[rng.integers(0, len(group), (_RESAMPLES, len(group)))] for group in groups]
    sums, errors = _sum_and_error(drawn, signs)
    distances = (sums - found) / np.maximum(errors, _LEAST_SPREAD * error)
    low, high = np.quantile(distances, ((1 - confidence) / 2, (1 + confidence) / 2))
    ends = np.exp([found, found - high * error, found - low * error])
    return Ratio(*(round(float(end), 5) for end in ends))


def _sum_and_error(groups: list[Floats], signs: list[int]) -> tuple[Floats, Floats]:
    """Of means along the last axis: their signed sum and its standard error."""
    means = sum(sign * group.mean(axis=-1) for sign, group in zip(signs, groups, strict=True))
    spread = sum(group.var(axis=-1, ddof=1) / group.shape[-1] for group in groups)
    return np.asarray(means), np.sqrt(spread)
