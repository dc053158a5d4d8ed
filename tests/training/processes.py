"""Real processes of their own that train: forked from one that has loaded torch and done nothing with it."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import torch

from model.yolact import Yolact
from tests.model.tiny_network import TINY, seeded_network
from tests.training import runs
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training import step
from training.data.coco import CocoDataset
from training.distributed import joined_ranks
from training.freezing import freeze
from training.loop import RunSettings, Trainer
from training.losses import Losses
from training.recipes import Recipe

RECIPE = replace(runs.RECIPE, batch=4)

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.training.processes"])
PATIENCE_S = 120.0


def street(folder: Path, pictures: int = 3) -> CocoDataset:
    """Pictures with a large and a small object each, the last with none."""
    rows = []
    for image_id in range(1, pictures):
        rows.append(annotation(image_id, rle(rectangle(TINY.size_hw, (10, 8, 60 + image_id, 50))), category_id=3))
        rows.append(annotation(image_id, rle(rectangle(TINY.size_hw, (90, 30, 110, 60))), category_id=1))
    return CocoDataset(write_coco(folder, TINY.size_hw, pictures, rows))


def train(folder: Path, data: Path, recipe: Recipe, trained: bool, **settings: Any) -> Yolact:
    """One process's part of a run, on one thread, with fresh weights or with such as have statistics."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = seeded_network() if trained else Yolact(TINY)
    freeze(network, recipe.trains)
    dataset = CocoDataset(data / "instances.json")
    defaults: dict[str, Any] = {"workers": 0, "checkpoint_every": 0, "evaluate_every": 0, "report_every": 1000}
    with joined_ranks("cpu") as ranks:
        trainer = Trainer(network, recipe, RunSettings(folder, **(defaults | settings)), ranks)
        list(trainer.run(runs.pictures(dataset, recipe), dataset))
    return network


def train_and_die(checkpoint: int, *arguments: Any, **settings: Any) -> None:
    """``train``, killed while that checkpoint, counted from 1, is written: half of it stands in a file by then."""
    left, save = [checkpoint], torch.save

    def dying_save(content: Any, stream: IO[bytes]) -> None:
        left[0] -= 1
        if left[0]:
            save(content, stream)
            return
        whole = BytesIO()
        save(content, whole)
        stream.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = dying_save  # type: ignore[assignment]  # in this process only
    train(*arguments, **settings)


def train_as_rank(rank: int, count: int, port: int, *arguments: Any, **settings: Any) -> Yolact:
    """``train`` with what torchrun tells a process."""
    os.environ.update(
        RANK=f"{rank}", WORLD_SIZE=f"{count}", LOCAL_RANK=f"{rank}", MASTER_ADDR="127.0.0.1", MASTER_PORT=f"{port}"
    )
    return train(*arguments, **settings)


def train_with_a_bad_part(rank: int, count: int, port: int, folder: Path, *arguments: Any) -> None:
    """``train_as_rank``, where the last process's loss is no number in its second step; each writes its weights."""
    steps, real = [0], vars(step)["losses"]

    def losses(*given: Any) -> Losses:
        steps[0] += 1
        found: Losses = real(*given)
        return found._replace(box=found.box * float("nan")) if (rank, steps[0]) == (count - 1, 2) else found

    vars(step)["losses"] = losses  # in this process only
    network = train_as_rank(rank, count, port, folder, *arguments)
    torch.save(network.state_dict(), folder / f"{rank}.pt")


def start(function: Callable[..., Any], *arguments: Any, **settings: Any) -> BaseProcess:
    """A process that calls the function, one of a module."""
    process = _PROCESSES.Process(target=function, args=arguments, kwargs=settings, daemon=True)
    process.start()
    return process


def finish(*processes: BaseProcess) -> list[int | None]:
    """Wait for them, and no longer than is reasonable; their exit codes."""
    for process in processes:
        process.join(PATIENCE_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes
