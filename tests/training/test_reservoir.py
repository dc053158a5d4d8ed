"""A sample of a stream: all of it, then an even choice, the same for the same seed, in no more memory than it has."""

import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from training.reservoir import Reservoir


def stream(count: int) -> NDArray[np.float32]:
    return np.arange(count, dtype=np.float32)


def sampled(capacity: int, values: NDArray[np.float32], parts: int = 1, seed: int = 0) -> NDArray[np.float32]:
    reservoir = Reservoir(capacity, np.random.default_rng(seed))
    for part in np.array_split(values, parts):
        reservoir.add(part)
    assert reservoir.seen == len(values)
    return reservoir.sample


def test_of_nothing_nothing_is_kept() -> None:
    assert len(Reservoir(3, np.random.default_rng(0)).sample) == 0
    assert len(sampled(3, stream(0))) == 0


@pytest.mark.parametrize("parts", [1, 3])
def test_what_it_can_hold_is_kept_whole(parts: int) -> None:
    assert sampled(7, stream(7), parts).tolist() == stream(7).tolist()


def test_the_sample_is_distinct_and_follows_from_the_seed_alone() -> None:
    values = stream(1000)
    first = sampled(50, values)
    assert len(set(first.tolist())) == 50
    assert sampled(50, values, parts=37).tolist() == first.tolist()
    assert sampled(50, values, seed=1).tolist() != first.tolist()


@pytest.mark.parametrize(("capacity", "count"), [(10, 100), (1, 2), (2, 3)])
def test_every_number_is_as_likely(capacity: int, count: int) -> None:
    """Chi-square of how often each is kept: its mean is ``count - capacity``, as none is kept twice."""
    runs = 3000
    kept = np.concatenate([sampled(capacity, stream(count), parts=3, seed=seed) for seed in range(runs)])
    expected = runs * capacity / count
    chi_square = float(((np.bincount(kept.astype(int), minlength=count) - expected) ** 2 / expected).sum())
    mean = count - capacity
    assert mean - 4 * math.sqrt(2 * mean) < chi_square < mean + 4 * math.sqrt(2 * mean)


def test_memory_does_not_grow_with_the_stream() -> None:
    reservoir, part = Reservoir(100, np.random.default_rng(0)), stream(1000)
    tracemalloc.start()
    for _ in range(500):  # two megabytes
        reservoir.add(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reservoir.seen == 500_000
    assert peak < 100_000
