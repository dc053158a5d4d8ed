"""What a generated picture holds: its pixels and, read off the painter's owners, its labelled instances."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scene.errors import ConfigurationError
from training.data.street_painter import Painter, Silhouette


@dataclass(frozen=True)
class SceneInstance:
    """One labelled object.

    ``class_index`` indexes the class names of the generator that drew it; ``box_xyxy`` is the tight box of the visible
    part in frame pixels, x2 and y2 exclusive; ``mask`` bool [y2 - y1, x2 - x1] is the visible part in that box;
    ``full_area`` counts the pixels inside the frame before occlusion; ``track_id`` (from 1) is the same
    for the same object in all frames of a clip.
    """

    class_index: int
    mask: NDArray[np.bool_]
    box_xyxy: tuple[int, int, int, int]
    full_area: int
    track_id: int

    @property
    def visible_area(self) -> int:
        """Visible pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def occlusion(self) -> float:
        """Hidden share of the object's own pixels, 0 to 1."""
        return 1.0 - self.visible_area / self.full_area


@dataclass(frozen=True)
class Drawn:
    """``image`` uint8 RGB [h, w, 3], its labelled instances, and what else a data set is to say of the picture."""

    image: NDArray[np.uint8]
    instances: tuple[SceneInstance, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


def labelled(
    painter: Painter, classes: Mapping[int, int], smallest_area: float, most_occlusion: float
) -> tuple[SceneInstance, ...]:
    """The owners whose class index ``classes`` has, by their number.

    Those with fewer than ``smallest_area`` visible pixels or hidden by more than ``most_occlusion`` are left out.
    """
    found = (
        _instance(painter.owners, owner, classes[owner], outlines[0]) for owner, outlines in painter.silhouettes.items()
    )
    kept = (item for item in found if item is not None)
    chosen = [item for item in kept if item.visible_area >= smallest_area and item.occlusion <= most_occlusion]
    return tuple(sorted(chosen, key=lambda item: item.track_id))


def _instance(owners: NDArray[np.int32], owner: int, class_index: int, outline: Silhouette) -> SceneInstance | None:
    x0, y0, x1, y1 = outline.box_xyxy
    visible = owners[y0:y1, x0:x1] == owner
    columns, rows = np.flatnonzero(visible.any(axis=0)), np.flatnonzero(visible.any(axis=1))
    if not len(columns):
        return None
    left, right, top, bottom = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    box = (x0 + left, y0 + top, x0 + right, y0 + bottom)
    mask = np.ascontiguousarray(visible[top:bottom, left:right])
    return SceneInstance(class_index, mask, box, int(np.count_nonzero(outline.mask)), owner)


def require_sides(height: int, width: int) -> None:
    """Raises ``ConfigurationError`` unless both sides of a frame to draw are 64 to 8192 pixels."""
    for name, value in (("height", height), ("width", width)):
        if not 64 <= value <= 8192:
            raise ConfigurationError(name, f"expected 64 to 8192 pixels, got {value}; choose a size in that range")


def generator(version: str, seed: int, purpose: int) -> np.random.Generator:
    """The numbers of a picture's ``seed`` for one ``purpose``; raises ``ConfigurationError`` for a negative seed."""
    if seed < 0:
        raise ConfigurationError("seed", f"expected 0 or more, got {seed}; give a non-negative whole number")
    return np.random.default_rng(np.random.SeedSequence([int(version), seed, purpose]))
