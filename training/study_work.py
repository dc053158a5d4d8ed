"""Training a study's runs, by this process or by several, until none is left."""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import msgspec
import torch
from filelock import FileLock, Timeout

from scene.disk import whole_file
from scene.errors import DataError, StreetMaskError
from training.command import Training, prepare, summary
from training.run_log import LOG
from training.study import FAILED, RESULT, Point, Result, Run, Study

_POLL_S = 5.0


def trained(study: Study, processes: int) -> bool:
    """Train what is not finished yet, by so many processes; whether a run of all is still not, as it failed."""
    if processes == 1:
        work(study, _say)
        return bool(study.unfinished())
    context = multiprocessing.get_context("spawn")
    parts = [part_of(study, index, processes) for index in range(processes)]
    others = [context.Process(target=_work_for_parent, args=(part,)) for part in parts]
    for other in others:
        other.start()
    try:
        for other in others:
            other.join()
    finally:
        for other in others:
            other.terminate()
    return bool(study.unfinished())


def part_of(study: Study, index: int, processes: int) -> Study:
    """The same study for one of several processes of this machine: with its share of the cores, and of several GPUs
    with one, unless the user has said otherwise."""
    base, gpus = study.base, torch.cuda.device_count()
    threads = base.threads or max(1, _cores() // processes)
    shared = gpus > 1 and base.device in ("auto", "cuda")
    return replace(study, base=replace(base, threads=threads, device=f"cuda:{index % gpus}" if shared else base.device))


def work(study: Study, say: Callable[[str], None]) -> dict[Run, str]:
    """Train until nothing is left but what failed here; gives that, and why.

    Runs that another process is at are waited for, and taken up where it is killed.
    """
    failed: dict[Run, str] = {}
    waited = set[Run]()
    while True:
        held = list(_pass(study, failed, say))
        if not held:
            return failed
        for run in held:
            if run not in waited:
                say(f"{_name(run)}: another process is at it")
        waited |= {*held}
        sleep(_POLL_S)


def _pass(study: Study, failed: dict[Run, str], say: Callable[[str], None]) -> Iterator[Run]:
    """Train what is free; gives what is not."""
    for run in study.unfinished():
        if run in failed:
            continue
        folder = study.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                if (folder / RESULT).is_file():
                    continue
                say(f"{_name(run)}: begins")
                if reason := _failure(study, run, say):
                    failed[run] = reason
                    say(f"{_name(run)}: {reason}")
        except Timeout:
            yield run


def _failure(study: Study, run: Run, say: Callable[[str], None]) -> str | None:
    """Train a run; a sentence if that failed, which then stands in its folder too."""
    path = study.folder(run) / FAILED
    try:
        _finish(study, run, say)
    except Exception as error:  # whatever it is: hours of other runs are to come
        foreseen = isinstance(error, StreetMaskError)
        reason = str(error) if foreseen else " ".join(f"{type(error).__name__}: {error}".split())
        with suppress(DataError, OSError), whole_file(path) as stream:  # the disk may be what failed
            stream.write(f"{reason}\n{'' if foreseen else traceback.format_exc()}".encode())
        return reason
    path.unlink(missing_ok=True)
    return None


def _finish(study: Study, run: Run, say: Callable[[str], None]) -> None:
    training = prepare(study.arguments(run))
    for evaluation in training.run():
        say(f"{_name(run)}: {summary(training.trainer.step, evaluation)}")
    result = _result(run, training)
    with whole_file(study.folder(run) / RESULT) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(result), indent=1))
    say(f"{_name(run)}: box AP {100 * result.box:.1f}, mask AP {100 * result.mask:.1f}")


def _result(run: Run, training: Training) -> Result:
    """From the run's log, which has an evaluation of the last step unless no step was to be evaluated, or taken."""
    trainer, held_out = training.trainer, training.held_out
    if held_out is None:
        raise DataError("expected a data set to measure on, but none came: name it with --held-out")
    lines = list(_log(trainer.settings.folder / LOG))
    used = "averaged" if trainer.learner.average is not None else "raw"
    found = [line for line in lines if line.get("weights") == used]
    if not found or found[-1]["step"] != trainer.recipe.steps:
        found.append({"step": trainer.recipe.steps, **trainer.evaluate(held_out).as_dict()})
    points = tuple(Point(line["step"], line["box"]["ap"], line["mask"]["ap"]) for line in found)
    seconds = sum(line["seconds"] for line in lines if "seconds" in line)
    evaluation = {name: value for name, value in found[-1].items() if name not in ("step", "weights")}
    return Result(*run, trainer.recipe.steps, round(seconds, 1), points, evaluation)


def _log(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        yield from (msgspec.json.decode(line) for line in path.read_bytes().splitlines())


def _name(run: Run) -> str:
    return f"{run[0]}, seed {run[1]}"


def _work_for_parent(study: Study) -> None:
    """In a process of its own, which ends with the one that started it."""
    Thread(target=_end_with_parent, daemon=True).start()
    work(study, _say)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_say: Callable[[str], None] = partial(print, flush=True)
