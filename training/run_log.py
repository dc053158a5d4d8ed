"""What a run tells while it goes on: a JSON line a step, TensorBoard's scalars and pictures, progress with ETA."""

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from scene.disk import writing
from scene.image import RgbImage
from training.step import Outcome

LOG = "log.jsonl"
EVENTS = "tensorboard"

_SPEED_PERIOD_S = 600.0
"""Over how long the speed is averaged from which the remaining time follows."""


class RunLog:
    """The log of a run in a folder, opened at a step from which it goes on: what stood behind it there is dropped.

    ``evaluated`` is the step of the last evaluation that the run remembers. Every ``report_every`` steps TensorBoard
    gets the scalars; a line of progress is printed then where there is no terminal for a bar.
    """

    def __init__(self, folder: Path, steps: int, step: int, evaluated: int, report_every: int) -> None:
        self.folder, self.report_every = folder, report_every
        path = folder / LOG
        folder.mkdir(parents=True, exist_ok=True)
        with writing(path):
            keep_until(path, step, evaluated)
            self._stream = path.open("ab", buffering=0)  # a line is one write: no half of it, and none held back
        with writing(folder / EVENTS):
            self._writer = SummaryWriter(folder / EVENTS, purge_step=step + 1)
        self._progress = _progress()
        self._bar = self._progress.add_task("training", total=steps, completed=step, told="")

    def __enter__(self) -> "RunLog":
        if not self._progress.disable:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._progress.stop()
        self._stream.close()
        with suppress(OSError):  # a full disk has been told of where it was met
            self._writer.close()

    def step(self, number: int, outcome: Outcome, skipped: int, pictures: int, seconds: float, waited_s: float) -> None:
        """One step: its number counted from 1, what came of it, how many were skipped so far, and its cost."""
        speed = pictures / max(seconds, 1e-9)
        told = {
            "step": number,
            **outcome.terms,
            "total": outcome.total,
            "rate": outcome.rate,
            "gradient_norm": outcome.gradient_norm,
            "scale": outcome.scale,
            "skipped": skipped,
            "problem": outcome.problem,
            "seconds": round(seconds, 4),
            "data_seconds": round(waited_s, 4),
            "images_per_second": round(speed, 2),
        }
        self._line(told)
        due = number % self.report_every == 0
        if due:
            self._scalars(number, outcome, skipped, speed)
        words = f"loss {outcome.total:.2f}, {speed:.1f} images/s" + (f", {skipped} skipped" if skipped else "")
        self._progress.update(self._bar, completed=number, told=words)
        if due and self._progress.disable:
            task = self._progress.tasks[0]
            left = "" if task.time_remaining is None else f", {_clock(task.time_remaining)} left"
            print(f"step {number} of {task.total:.0f}: {words}{left}", flush=True)

    def evaluation(self, number: int, weights: str, result: Mapping[str, Any]) -> None:
        """Figures on the held-out split of "averaged" or "raw" weights at a step."""
        self._line({"step": number, "weights": weights, **result})
        with writing(self.folder / EVENTS):
            for kind in ("mask", "box"):
                for figure in ("ap", "ap50", "ap75", "small", "medium", "large"):
                    value = result[kind][figure]
                    if value is not None:
                        self._writer.add_scalar(f"{kind}_{figure}/{weights}", value, number)

    def pictures(self, number: int, drawn: Iterable[RgbImage]) -> None:
        """Drawn held-out pictures at a step."""
        with writing(self.folder / EVENTS):
            for index, picture in enumerate(drawn):
                self._writer.add_image(f"held_out/{index}", picture, number, dataformats="HWC")
            self._writer.flush()

    def _scalars(self, number: int, outcome: Outcome, skipped: int, speed: float) -> None:
        with writing(self.folder / EVENTS):
            for name, value in (*outcome.terms.items(), ("total", outcome.total)):
                self._writer.add_scalar(f"loss/{name}", value, number)
            for name, value in (
                ("rate", outcome.rate),
                ("gradient_norm", outcome.gradient_norm),
                ("scale", outcome.scale),
                ("skipped", skipped),
                ("images_per_second", speed),
            ):
                self._writer.add_scalar(f"step/{name}", value, number)

    def _line(self, told: Mapping[str, Any]) -> None:
        with writing(self.folder / LOG):
            self._stream.write(msgspec.json.encode(told) + b"\n")  # what is no number becomes null


def keep_until(path: Path, step: int, evaluated: int) -> None:
    """Cut a log behind the step at which a run goes on, and a last line that is not whole.

    Evaluations are kept up to the one that the run remembers, since it repeats the later ones.
    """
    if not path.is_file():
        return
    end = 0
    with path.open("rb") as stream:
        for line in stream:
            entry = _entry(line)
            if entry is None or entry["step"] > (evaluated if "images" in entry else step):
                break
            end += len(line)
    os.truncate(path, end)


def _entry(line: bytes) -> dict[str, Any] | None:
    with suppress(msgspec.DecodeError):
        entry = msgspec.json.decode(line)
        if line.endswith(b"\n") and isinstance(entry, dict) and isinstance(entry.get("step"), int):
            return entry
    return None


def _progress() -> Progress:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
        speed_estimate_period=_SPEED_PERIOD_S,
    )
    progress.disable = not progress.console.is_terminal
    return progress


def _clock(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
