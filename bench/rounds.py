"""Rounds: each asks everybody once, in random order, about the same frames, so that what drifts hits all alike."""

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from bench.machine import Watch
from bench.worker import Ended, Loaded, Sample, Worker
from scene.errors import DataError

_STEADY_CALLS = 5
_STEADY = 0.05
_MOST_WARMUP_CALLS = 40


class Player(Protocol):
    """What a round asks: an answer to the frames of these numbers, timed."""

    def play(self, frames: tuple[int, ...]) -> Sample:
        """Answer once."""
        ...


@dataclass(frozen=True)
class Entrant:
    """Who takes part: how many frames it takes at a time, and how its process is started."""

    name: str
    batch: int
    start: Callable[[], Worker]


@dataclass(frozen=True)
class Plan:
    """So many rounds over so many frames, in an order that the seed gives, after a warm-up of each.

    ``warm_up`` gets a function from a call's number to its milliseconds, and returns how many calls it made.
    """

    rounds: int
    frame_count: int
    seed: int
    warm_up: Callable[[Callable[[int], float]], int]


@dataclass
class Course:
    """One subject's samples, as they come."""

    batch: int
    warmup_calls: int = 0
    samples: list[Sample] = field(default_factory=list)

    def milliseconds(self) -> dict[str, list[float]]:
        """Every sample: ``total`` and each stage."""
        stages = dict.fromkeys(stage for sample in self.samples for stage in sample.stages_ms)
        rows = {stage: [round(sample.stages_ms.get(stage, 0.0), 4) for sample in self.samples] for stage in stages}
        return {"total": [round(sample.total_ms, 4) for sample in self.samples], **rows}


@dataclass
class Found:
    """What a run came to so far; ``errors`` by subject, or by "rounds" for what ended these; ``left_out`` says of a
    subject why it cannot run here; ``stopped`` by Ctrl-C."""

    courses: dict[str, Course] = field(default_factory=dict)
    loaded: dict[str, Loaded] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def measure(entrants: Sequence[Entrant], plan: Plan, watch: Watch, found: Found) -> None:
    """Load, warm up and interleave; a subject that cannot is left out with its sentence, the others go on."""
    workers: dict[str, Worker] = {}
    try:
        for entrant in entrants:
            print(f"loading {entrant.name}", flush=True)
            workers[entrant.name] = entrant.start()
            try:
                _load(entrant, workers[entrant.name], plan, found)
            except DataError as error:
                print(error, file=sys.stderr)
                found.errors[entrant.name] = str(error)
                workers.pop(entrant.name).kill()
        watch.lap()
        _interleave_all(workers, plan, found)
        watch.lap()
        found.ended |= {name: worker.end() for name, worker in workers.items() if not found.stopped}
    finally:
        for worker in workers.values():
            worker.kill()


def interleave(
    players: Mapping[str, Player], courses: Mapping[str, Course], rounds: int, frame_count: int, rng: random.Random
) -> None:
    """Add one sample of every player a round, in random order, all on the same frame."""
    for number in range(rounds):
        samples = {}
        for name in rng.sample(sorted(players), len(players)):
            samples[name] = players[name].play(frame_numbers(number, courses[name].batch, frame_count))
        for name, sample in samples.items():  # a round that Ctrl-C cuts off is left out whole: samples stay paired
            courses[name].samples.append(sample)


def warm_up(play: Callable[[int], float]) -> int:
    """Call until the median of five calls is within a twentieth of that of the five before; the number of calls.

    ``play`` takes the call's number and returns its milliseconds. Ends after 40 calls in any case.
    """
    spent: list[float] = []
    while len(spent) < _MOST_WARMUP_CALLS:
        spent.append(play(len(spent)))
        last, before = spent[-_STEADY_CALLS:], spent[-2 * _STEADY_CALLS : -_STEADY_CALLS]
        if len(before) == _STEADY_CALLS and abs(median(last) / median(before) - 1) < _STEADY:
            break
    return len(spent)


def frame_numbers(number: int, batch: int, frame_count: int) -> tuple[int, ...]:
    """The frames of a round: the next ones, round and round."""
    return tuple((number * batch + place) % frame_count for place in range(batch))


def _load(entrant: Entrant, worker: Worker, plan: Plan, found: Found) -> None:
    loaded = worker.loaded()
    calls = plan.warm_up(lambda number: worker.play(frame_numbers(number, entrant.batch, plan.frame_count)).total_ms)
    found.loaded[entrant.name] = loaded
    found.courses[entrant.name] = Course(entrant.batch, calls)


def _interleave_all(workers: dict[str, Worker], plan: Plan, found: Found) -> None:
    """All rounds; Ctrl-C or a subject that fails ends them, and what was measured until then is kept."""
    try:
        interleave(workers, found.courses, plan.rounds, plan.frame_count, random.Random(plan.seed))
    except KeyboardInterrupt:
        found.stopped = True
    except DataError as error:
        found.errors["rounds"] = str(error)
