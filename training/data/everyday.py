"""Everyday views: few large things of COCO's classes, the same for the same seed and version.

Torch-free: the embedded stand-in for COCO as the source from which street scenes are learned by transfer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scene.classes import EVERYDAY_CLASSES
from training.data.drawn import Drawn, generator, labelled, require_sides
from training.data.everyday_layout import Layout, draw_layout
from training.data.everyday_render import render_view
from training.data.street_effects import draw_lens, expose
from training.data.synthetic_writer import Generated, write_generated

VERSION = "1"
"""Grows whenever the same seed gives other pixels or other labels."""
_PURPOSE = 5
"""Numbers of a seed that no street is drawn with."""
_REFERENCE_AREA = 480 * 640
_PERSON = EVERYDAY_CLASSES.index("person")


@dataclass(frozen=True)
class EverydaySettings:
    """How views are made: frame ``height`` and ``width`` in pixels (at least 64 each).

    Things with fewer than ``smallest_area`` visible pixels (counted at 640x480) or hidden by more than
    ``most_occlusion`` are drawn and not labelled.
    """

    height: int = 480
    width: int = 640
    smallest_area: float = 150.0
    most_occlusion: float = 0.85

    def __post_init__(self) -> None:
        require_sides(self.height, self.width)


def view(seed: int, settings: EverydaySettings = EverydaySettings()) -> Drawn:
    """The view of this seed (0 or more); its instances' classes index ``EVERYDAY_CLASSES``."""
    rng = generator(VERSION, seed, _PURPOSE)
    layout = draw_layout(rng, (settings.height, settings.width))
    lens = draw_lens(rng)
    painter = render_view(layout, rng)
    least = settings.smallest_area * settings.height * settings.width / _REFERENCE_AREA
    found = labelled(painter, _classes(layout), least, settings.most_occlusion)
    return Drawn(expose(painter.image, lens, rng), found)


def _classes(layout: Layout) -> dict[int, int]:
    """The class index of each owner."""
    machines = {2 * n + 1: EVERYDAY_CLASSES.index(placed.kind.name) for n, placed in enumerate(layout.things)}
    return machines | {2 * n + 2: _PERSON for n in range(len(layout.things))}


def write_views(
    folder: Path,
    count: int,
    seed: int,
    settings: EverydaySettings = EverydaySettings(),
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write views as ``write_generated`` does; returns the JSON's path."""
    kind = Generated(partial(_drawn, settings), VERSION, EVERYDAY_CLASSES, "StreetMask everyday views")
    return write_generated(kind, folder, count, seed, workers, progress)


def _drawn(settings: EverydaySettings, seed: int) -> Drawn:
    return view(seed, settings)
