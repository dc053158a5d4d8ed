"""What is timed of training: whole steps of the trainer that trains, in one precision, memory format and batch."""

import time
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from bench.subjects import load_weights_of
from bench.worker import Loaded, Sample, peaks, since_start_ms
from scene.errors import DataError
from training.data.location import open_dataset
from training.feed import AugmentedPictures, Batch, feed
from training.loop import RunSettings, Trainer
from training.recipes import Recipe

_ENDLESS = 1_000_000
_RATE = 1e-6
"""A rate at which seeded weights stay what they are: a step takes as long at any."""


@dataclass(frozen=True)
class Source:
    """Where pictures come from: a data set by any of its names."""

    data: Path
    seed: int = 1


@dataclass(frozen=True)
class TrainSubject:
    """A checkpoint or preset in training. ``precision`` and ``memory_format`` are ``training.recipes.Recipe``'s."""

    target: str
    precision: str
    memory_format: str
    batch: int
    device: str = "cpu"
    threads: int = 1

    @property
    def name(self) -> str:
        """``TARGET/PRECISION/FORMAT``; then ``@DEVICE`` of no CPU, and ``/bN``."""
        device = "" if self.device == "cpu" else f"@{self.device}"
        return f"{self.target}/{self.precision}/{self.memory_format}{device}/b{self.batch}"


def open_training(subject: TrainSubject, source: Source) -> tuple[Trainer, AugmentedPictures]:
    """The trainer in this process, and what it is fed with. Raises ``StreetMaskError`` for what cannot be trained."""
    torch.set_num_threads(subject.threads)
    torch.manual_seed(source.seed)
    recipe = Recipe(
        steps=_ENDLESS,
        batch=subject.batch,
        learning_rate=_RATE,
        warmup_steps=0,
        precision=subject.precision,  # type: ignore[arg-type]  # checked where it is asked for
        memory_format=subject.memory_format,  # type: ignore[arg-type]
    )
    network = load_weights_of(subject.target)
    size_hw, names = network.config.size_hw, network.config.class_names
    dataset = open_dataset(source.data, class_names=names)
    trainer = Trainer(network, recipe, RunSettings(source.data.parent, device=subject.device, seed=source.seed))
    return trainer, AugmentedPictures([dataset], None, recipe, size_hw, source.seed)


def timed_step(trainer: Trainer, batch: Batch) -> Sample:
    """One step, from a batch in the host's memory to the updated network; ``cpu`` is all threads' time."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    outcome = trainer.train_step(batch.to(trainer.device))
    wait_for(trainer)
    total_ms, cpu_ms = (time.perf_counter() - started_s) * 1000, (time.process_time() - cpu_s) * 1000
    if not bool(torch.isfinite(torch.as_tensor(outcome.total))):
        raise DataError("the loss is no number: such a step learns nothing, and takes another time than one that does")
    return Sample(total_ms, {"cpu": cpu_ms}, rows=0, pasted=0)


def wait_for(trainer: Trainer) -> None:
    """Until the GPU has done what it was given, if there is one."""
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)


def take_steps(connection: Connection, subject: TrainSubject, source: Source, pictures: int) -> None:
    """A worker's side: so many augmented pictures are made before, then one step for each tuple of their numbers."""
    trainer, augmented = open_training(subject, source)
    batches = list(islice(feed(augmented, 0, workers=0), max(1, pictures // subject.batch)))
    load_ms = since_start_ms()
    connection.send(Loaded(load_ms, timed_step(trainer, batches[0]).total_ms))
    while (numbers := connection.recv()) is not None:
        connection.send(timed_step(trainer, batches[numbers[0] // subject.batch % len(batches)]))
    connection.send(peaks())
