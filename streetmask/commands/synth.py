"""``streetmask data synth``: a folder of synthetic street scenes with COCO labels."""

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import tyro

from serve.settings import usable_cpus
from training.data.street_conditions import mix_of
from training.data.synthetic import SceneSettings, write_dataset

_LINE_EVERY = 100
"""Scenes between two lines of progress where the output is no terminal."""


@dataclass(frozen=True)
class SynthArguments:
    """Make street scenes with labels of the eight classes: pictures and a COCO JSON, the same for the same seed."""

    folder: tyro.conf.Positional[Path]
    """Where to write."""
    count: int
    """How many scenes."""
    seed: int
    """Seed of the first scene; the next ones follow."""
    height: int = 512
    """Height in pixels."""
    width: int = 1024
    """Width in pixels."""
    conditions: tuple[str, ...] = ("clear",)
    """What the scenes are seen under: clear, dusk, night, rain, motion-blur, jpeg, or several at once as night+rain,
    each alone or with its share (night=0.2). `all` is half clear and a tenth of each other one. The same seed gives the
    same streets with the same labels under all of them."""
    workers: int = field(default_factory=usable_cpus)
    """Processes that render."""


def synth(arguments: SynthArguments) -> None:
    """Write the data set, showing the progress."""
    settings = SceneSettings(height=arguments.height, width=arguments.width, conditions=mix_of(arguments.conditions))
    show = partial(_show if sys.stdout.isatty() else _log, arguments.count)
    path = write_dataset(arguments.folder, arguments.count, arguments.seed, settings, arguments.workers, show)
    print(f"wrote {path}")


def _show(total: int, done: int) -> None:
    print(f"\r{done} of {total} scenes", end="\n" if done == total else "", flush=True)


def _log(total: int, done: int) -> None:
    if done % _LINE_EVERY == 0 or done == total:
        print(f"{done} of {total} scenes", flush=True)
