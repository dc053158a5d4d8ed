"""``streetmask data synth``: a folder of synthetic street scenes with COCO labels."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import tyro

from serve.settings import usable_cpus
from streetmask.command_line import show_count
from training.data.street_conditions import mix_of
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
    conditions: tuple[str, ...] = ("clear",)
    """What the scenes are seen under: clear, dusk, night, rain, motion-blur, jpeg, or several at once as night+rain,
    each alone or with its share (night=0.2). `all` is half clear and a tenth of each other one. The same seed gives the
    same streets with the same labels under all of them."""
    workers: int = field(default_factory=usable_cpus)
    """Processes that render."""


def synth(arguments: SynthArguments) -> None:
    """Write the data set, showing the progress."""
    settings = SceneSettings(height=arguments.height, width=arguments.width, conditions=mix_of(arguments.conditions))
    show = partial(show_count, "scenes", total=arguments.count)
    started_s = time.perf_counter()
    path = write_dataset(arguments.folder, arguments.count, arguments.seed, settings, arguments.workers, show)
    rate = arguments.count / (time.perf_counter() - started_s)
    print(f"wrote {path}: {rate:.1f} scenes a second from {arguments.workers} processes")
