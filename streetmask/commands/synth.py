"""``streetmask data synth``: a folder of synthetic street scenes with COCO labels."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import tyro

from serve.settings import usable_cpus
from training.data.synthetic import SceneSettings, write_dataset


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
    workers: int = field(default_factory=usable_cpus)
    """Processes that render."""


def synth(arguments: SynthArguments) -> None:
    """Write the data set, showing the progress."""
    settings = SceneSettings(height=arguments.height, width=arguments.width)
    show = partial(_show, arguments.count)
    path = write_dataset(arguments.folder, arguments.count, arguments.seed, settings, arguments.workers, show)
    print(f"\nwrote {path}")


def _show(total: int, done: int) -> None:
    print(f"\r{done} of {total} scenes", end="", flush=True)
