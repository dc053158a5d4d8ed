"""``streetmask data synth``: a folder of generated pictures with COCO labels, street scenes or everyday views."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from scene.errors import ConfigurationError
from serve.settings import usable_cpus
from streetmask.command_line import show_count
from training.data.everyday import EverydaySettings, write_views
from training.data.street_balance import Balance
from training.data.street_conditions import mix_of
from training.data.synthetic import SceneSettings, write_dataset


@dataclass(frozen=True)
class SynthArguments:
    """Make pictures with labels: street scenes of the eight classes, or everyday views of COCO's classes to transfer
    from. They come with a COCO JSON and are the same for the same seed."""

    folder: tyro.conf.Positional[Path]
    """Where to write."""
    count: int
    """How many scenes."""
    seed: int
    """Seed of the first scene; the next ones follow."""
    view: Literal["street", "everyday"] = "street"
    """Streets as a car's camera sees them, or everyday views: one to five large things of 24 classes, seen from near,
    indoors and outdoors."""
    height: int | None = None
    """Height in pixels; 512 for streets, 480 for everyday views."""
    width: int | None = None
    """Width in pixels; 1024 for streets, 640 for everyday views."""
    conditions: tuple[str, ...] = ()
    """What streets are seen under, clear without any: clear, dusk, night, rain, motion-blur, jpeg, or several at once
    as night+rain, each alone or with its share (night=0.2). `all` is half clear and a tenth of each other one. The same
    seed gives the same streets with the same labels under all of them."""
    balance: Balance = "even"
    """How often each class stands in a street: as is good for training, or rare ones as rarely as in Cityscapes."""
    workers: int = field(default_factory=usable_cpus)
    """Processes that render."""


def synth(arguments: SynthArguments) -> None:
    """Write the data set, showing the progress."""
    write = _streets(arguments) if arguments.view == "street" else _views(arguments)
    show = partial(show_count, "scenes", total=arguments.count)
    started_s = time.perf_counter()
    path = write(arguments.folder, arguments.count, arguments.seed, workers=arguments.workers, progress=show)
    rate = arguments.count / (time.perf_counter() - started_s)
    print(f"wrote {path}: {rate:.1f} scenes a second from {arguments.workers} processes")


def _sides(arguments: SynthArguments) -> dict[str, int]:
    given = {"height": arguments.height, "width": arguments.width}
    return {name: value for name, value in given.items() if value is not None}


def _streets(arguments: SynthArguments) -> Callable[..., Path]:
    settings = SceneSettings(**_sides(arguments), conditions=mix_of(arguments.conditions), balance=arguments.balance)
    return partial(write_dataset, settings=settings)


def _views(arguments: SynthArguments) -> Callable[..., Path]:
    if arguments.balance != "even":
        raise ConfigurationError(
            "balance", f"everyday views have none but even, but {arguments.balance!r} came; choose --view street"
        )
    if arguments.conditions:
        raise ConfigurationError(
            "conditions",
            f"everyday views are drawn under none, but {' '.join(arguments.conditions)!r} came; leave them away or "
            "choose --view street",
        )
    return partial(write_views, settings=EverydaySettings(**_sides(arguments)))
