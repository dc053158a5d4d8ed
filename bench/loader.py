"""What feeds a training: how many pictures a second, at what cost, and whether the network ever waits for them."""

import time
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice

import psutil

from bench.machine import GpuBusy
from bench.steps import Source, TrainSubject, open_training, wait_for
from training.feed import AugmentedPictures, Batch, feed


@dataclass(frozen=True)
class LoaderRun:
    """Reading, augmenting and collating alone: milliseconds a picture of each window of so many pictures, by the clock
    and of all CPUs. ``workers`` 0 is this process."""

    workers: int
    window: int
    wall_ms: list[float]
    cpu_ms: list[float]


@dataclass(frozen=True)
class FedRun:
    """Training from the loader: so many pictures learned in so many seconds, in which the trainer waited for pictures.

    ``gpu_busy_share`` is the mean of what the driver says; None without a GPU that tells.
    """

    subject: str
    workers: int
    pictures: int
    seconds: float
    waited_s: float
    gpu_busy_share: float | None


def load_alone(pictures: AugmentedPictures, workers: int, windows: int, window: int) -> LoaderRun:
    """So many windows of at least ``window`` pictures, with nobody who takes time to learn from them."""
    count = -(-window // pictures.recipe.batch)
    before = max(count, 2 * workers)  # until processes have started, and have more to do
    batches = _batches(pictures, workers, before + windows * count)
    _drain(batches, before)
    drawn = count * pictures.recipe.batch
    found = LoaderRun(workers, drawn, [], [])
    for _ in range(windows):
        wall_s, cpu_s = time.perf_counter(), _cpu_s()
        _drain(batches, count)
        found.wall_ms.append(1000 * (time.perf_counter() - wall_s) / drawn)
        found.cpu_ms.append(1000 * (_cpu_s() - cpu_s) / drawn)
    return found


def feed_training(subject: TrainSubject, source: Source, workers: int, steps: int) -> FedRun:
    """Train as ``streetmask train`` does, one step behind the other, each on the loader's next batch."""
    trainer, pictures = open_training(subject, source)
    batches = _batches(pictures, workers, 1 + steps)
    trainer.train_step(next(batches).to(trainer.device))  # meanwhile the loader is ahead, and memory is claimed
    wait_for(trainer)
    waited_s, started_s = 0.0, time.perf_counter()
    with GpuBusy(subject.device) as busy:
        for _ in range(steps):
            asked_s = time.perf_counter()
            batch = next(batches)
            waited_s += time.perf_counter() - asked_s
            trainer.train_step(batch.to(trainer.device))
        wait_for(trainer)
        seconds = time.perf_counter() - started_s
    return FedRun(subject.name, workers, steps * subject.batch, seconds, waited_s, busy.share)


def _batches(pictures: AugmentedPictures, workers: int, count: int) -> Iterator[Batch]:
    """So many of them and no more: processes that are ended with work before them may abort."""
    part = copy(pictures)
    part.recipe = replace(pictures.recipe, steps=count)
    return iter(feed(part, 0, workers))


def _drain(batches: Iterator[Batch], count: int) -> None:
    for _ in islice(batches, count):
        pass


def _cpu_s() -> float:
    """CPU seconds of this process and of those that it started and that still run; theirs are told in hundredths."""
    theirs = [each.cpu_times() for each in psutil.Process().children()]
    return time.process_time() + sum(times.user + times.system for times in theirs)
