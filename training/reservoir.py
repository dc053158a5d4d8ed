"""A uniform sample of a stream of numbers, in memory that does not grow with the stream."""

import numpy as np
from numpy.typing import NDArray


class Reservoir:
    """At most ``capacity`` numbers of all that were added, each set of so many equally likely (Vitter 1985, "Random
    Sampling with a Reservoir", algorithm R). What is kept follows from the generator and the stream, not from the
    parts in which the stream came.
    """

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self.seen = 0
        self._kept = np.empty(capacity, np.float32)
        self._rng = rng

    def add(self, values: NDArray[np.float32]) -> None:
        """More of the stream, [n]."""
        room = max(len(self._kept) - self.seen, 0)
        first, later = values[:room], values[room:]
        self._kept[self.seen : self.seen + len(first)] = first
        # The number that is the n-th of the stream takes one of n places, of which only the first are kept.
        ends = np.arange(self.seen + len(first), self.seen + len(values)) + 1
        places = self._rng.integers(0, ends)
        kept = places < len(self._kept)
        self._kept[places[kept]] = later[kept]  # where a place is taken twice, the later number stays
        self.seen += len(values)

    @property
    def sample(self) -> NDArray[np.float32]:
        """What is kept so far, in no order: [``capacity``], or all while fewer were added."""
        return self._kept[: self.seen].copy()
