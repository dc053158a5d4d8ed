"""Which differences between a study's rows exceed what chance does, and whether they stand in the published order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import studentized_range

_CONFIDENCE = 0.95
_ROUNDING = 1e-18
"""Of a sum of squares, in points."""


@dataclass(frozen=True)
class Difference:
    """``better`` exceeds ``worse`` by so much, with an interval that holds for all pairs of the study together."""

    better: str
    worse: str
    by: float
    low: float
    high: float

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0


def spread(values: Mapping[str, Sequence[float]], common_seeds: bool = False) -> float | None:
    """The standard deviation between runs of one row that differ in their seed alone, of all rows together; None where
    no row has two that differ: of what never varied nothing is known.

    With ``common_seeds`` what a seed does to all rows alike is taken out of it (a randomised block design, the seeds
    being the blocks): every row then has a figure for each seed, in one order.
    """
    rests = [np.array(row) - np.mean(row) for row in values.values()]
    if common_seeds and rests:
        rests = [rest - np.mean(rests, axis=0) for rest in rests]
    squares = sum(float(np.sum(rest**2)) for rest in rests)
    freedom = _freedom(values, common_seeds)
    return math.sqrt(squares / freedom) if squares > _ROUNDING and freedom else None


def differences(
    values: Mapping[str, Sequence[float]], certain: Sequence[str] = (), common_seeds: bool = False
) -> list[Difference]:
    """Every two rows' difference, the largest first, with Tukey's and Kramer's simultaneous interval of 95 %.

    ``values`` has a figure a seed for each row, one at least; the spread is taken to be the same for all rows (pooled
    over them, and ``common_seeds`` as in `spread`). A row of ``certain`` is no sample, as nothing in it is left to
    chance, and goes with no ``common_seeds``. Without seeds that differ nothing is known of chance, and no interval is
    finite, but between rows that are certain.
    """
    assert not (certain and common_seeds), "what a seed does is no part of what is certain"
    sampled = {name: row for name, row in values.items() if name not in certain}
    deviation, freedom = spread(sampled, common_seeds), _freedom(sampled, common_seeds)
    reach = math.inf
    if deviation is not None:
        reach = deviation * float(studentized_range.ppf(_CONFIDENCE, len(values), freedom)) / math.sqrt(2)
    found = [_difference(one, other, values, certain, reach) for one, other in combinations(values, 2)]
    return sorted(found, key=lambda each: -each.by)


def _difference(
    one: str, other: str, values: Mapping[str, Sequence[float]], certain: Sequence[str], reach: float
) -> Difference:
    worse, better = sorted((one, other), key=lambda name: float(np.mean(values[name])))
    by = float(np.mean(values[better]) - np.mean(values[worse]))
    parts = [1 / len(values[name]) for name in (one, other) if name not in certain]
    half = reach * math.sqrt(sum(parts)) if parts else 0.0
    return Difference(better, worse, by, by - half, by + half)


def _freedom(values: Mapping[str, Sequence[float]], common_seeds: bool) -> int:
    within = sum(len(row) - 1 for row in values.values())
    return within - (len(next(iter(values.values()))) - 1 if common_seeds and values else 0)


@dataclass(frozen=True)
class Order:
    """Of the pairs of rows with a published figure: those in which ours differ by more than chance in the published
    direction, and against it, and how many differ by no more."""

    agreeing: tuple[Difference, ...]
    opposed: tuple[Difference, ...]
    undecided: int


def order(found: Sequence[Difference], published: Mapping[str, float]) -> Order:
    """Hold differences against published figures by row; rows without one, and pairs of equal ones, are passed over."""
    known = [
        each
        for each in found
        if {each.better, each.worse} <= published.keys() and published[each.better] != published[each.worse]
    ]
    decided = [each for each in known if each.exceeds_noise]
    agreeing = tuple(each for each in decided if published[each.better] > published[each.worse])
    opposed = tuple(each for each in decided if published[each.better] < published[each.worse])
    return Order(agreeing, opposed, len(known) - len(decided))
