"""Synthetic street scenes with exact instance masks, the same for the same seed and version.

Torch-free: the embedded default for people without a licensed data set, and a source of test pictures.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.classes import STREET_CLASSES, coco_categories
from scene.errors import ConfigurationError, DataError
from training.data.run_lengths import crop_rle
from training.data.street_conditions import CLEAR_DAY, CLEAR_ONLY, Condition, Mix, draw_condition, words_of
from training.data.street_effects import Lens, draw_lens
from training.data.street_painter import Painter, Silhouette
from training.data.street_scenes import draw_world
from training.data.street_weather import draw_weather, picture
from training.data.street_world import World

VERSION = "1"
"""Grows whenever the same seed gives other pixels or other labels."""
_RIDER = STREET_CLASSES.index("rider")
_REFERENCE_AREA = 1024 * 2048
_JPEG_QUALITY = 92

Annotation = dict[str, Any]


@dataclass(frozen=True)
class SceneInstance:
    """One labelled object.

    ``class_index`` indexes ``STREET_CLASSES``; ``box_xyxy`` is the tight box of the visible part in frame
    pixels, x2 and y2 exclusive; ``mask`` bool [y2 - y1, x2 - x1] is the visible part in that box;
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
class StreetScene:
    """``image`` uint8 RGB [h, w, 3], its labelled instances, and the condition that it is seen under."""

    image: NDArray[np.uint8]
    instances: tuple[SceneInstance, ...]
    condition: Condition = CLEAR_DAY


@dataclass(frozen=True)
class SceneSettings:
    """How scenes are made: frame ``height`` and ``width`` in pixels (at least 64 each).

    Instances with fewer than ``smallest_area`` visible pixels (counted at 2048x1024) or hidden by more than
    ``most_occlusion`` are drawn and not labelled, as annotators do. ``conditions`` are what the scenes are seen
    under, with their shares; a seed's street and its labels are the same under each.
    """

    height: int = 512
    width: int = 1024
    smallest_area: float = 100.0
    most_occlusion: float = 0.9
    conditions: Mix = CLEAR_ONLY

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if not 64 <= value <= 8192:
                raise ConfigurationError(name, f"expected 64 to 8192 pixels, got {value}; choose a size in that range")
        if not self.conditions:
            raise ConfigurationError("conditions", "expected at least one, got none; leave them away for clear days")


def scene(seed: int, settings: SceneSettings = SceneSettings()) -> StreetScene:
    """The scene of this seed (0 or more)."""
    rng = _generator(seed, 0)
    world, lens = draw_world(rng, 0.0), draw_lens(rng)
    return _photograph(world, 0.0, lens, rng, seed, settings)


def condition(seed: int, settings: SceneSettings) -> Condition:
    """The condition under which the scene or clip of this seed is seen."""
    mix = settings.conditions
    return mix[0][0] if len(mix) == 1 else draw_condition(_generator(seed, 3), mix)


def _photograph(
    world: World, seconds: float, lens: Lens, noise: np.random.Generator, seed: int, settings: SceneSettings
) -> StreetScene:
    under = condition(seed, settings)
    weather = draw_weather((int(VERSION), seed, 4), under, world)
    painter, image = picture(world, seconds, (settings.height, settings.width), weather, lens, noise)
    return StreetScene(image, _instances(painter, world, settings), under)


def clip(
    seed: int,
    seconds: float = 10.0,
    fps: float = 25.0,
    settings: SceneSettings = SceneSettings(),
    frames: range | None = None,
) -> Iterator[StreetScene]:
    """Frames of a drive through one street; track ids persist, noise is new in every frame.

    ``frames`` picks some of them by number from 0, so that processes can share the work: a frame is the same whichever
    others are drawn. Raises ``ConfigurationError`` for times that are not positive or a negative seed.
    """
    for name, value in (("seconds", seconds), ("fps", fps)):
        if not 0 < value < 10_000:
            raise ConfigurationError(name, f"expected a positive number, got {value}; give more than 0")
    whole = range(max(1, round(seconds * fps)))
    return _frames(seed, _generator(seed, 1), seconds, fps, settings, whole if frames is None else frames)


def _frames(
    seed: int, rng: np.random.Generator, seconds: float, fps: float, settings: SceneSettings, frames: range
) -> Iterator[StreetScene]:
    world, lens = draw_world(rng, seconds), draw_lens(rng)
    for frame in frames:
        noise = np.random.default_rng([int(VERSION), seed, 2, frame])
        yield _photograph(world, frame / fps, lens, noise, seed, settings)


def _generator(seed: int, purpose: int) -> np.random.Generator:
    if seed < 0:
        raise ConfigurationError("seed", f"expected 0 or more, got {seed}; give a non-negative whole number")
    return np.random.default_rng(np.random.SeedSequence([int(VERSION), seed, purpose]))


def _instances(painter: Painter, world: World, settings: SceneSettings) -> tuple[SceneInstance, ...]:
    classes = {actor.track_id: actor.class_index for actor in world.actors if actor.track_id}
    classes |= {actor.rider_id: _RIDER for actor in world.actors if actor.rider_id}
    least = settings.smallest_area * settings.height * settings.width / _REFERENCE_AREA
    found = (
        _instance(painter.owners, owner, classes[owner], outlines[0]) for owner, outlines in painter.silhouettes.items()
    )
    kept = (item for item in found if item is not None)
    labelled = [item for item in kept if item.visible_area >= least and item.occlusion <= settings.most_occlusion]
    return tuple(sorted(labelled, key=lambda item: item.track_id))


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


def scene_seed(seed: int, index: int) -> int:
    """The seed of scene ``index`` in the data set with this seed; different data sets share none."""
    low, high = np.random.SeedSequence([int(VERSION), seed, index]).generate_state(2, np.uint32).tolist()
    return int(low) | int(high) << 32


def write_dataset(
    folder: Path,
    count: int,
    seed: int,
    settings: SceneSettings = SceneSettings(),
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write ``images/000000.jpg`` and so on and ``instances.json`` into ``folder``; returns the JSON's path.

    The JSON is COCO's: categories from 1, run-length masks with text counts, boxes (x, y, w, h) in pixels,
    plus ``occlusion`` (0-1) per annotation and, unless all scenes are clear, ``condition`` per image and the shares
    in ``info``. The files are the same for any number of ``workers``.
    ``progress`` is called with the number of scenes done. Raises ``ConfigurationError`` for a bad count, seed
    or worker number and ``DataError`` if the folder cannot be written.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigurationError(name, f"expected {least} or more, got {value}; give a larger whole number")
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        return _write(folder, count, seed, settings, workers, progress)
    except OSError as error:
        raise DataError(f"expected a writable folder, got {folder} ({error}); choose another folder") from error


def _write(
    folder: Path, count: int, seed: int, settings: SceneSettings, workers: int, progress: Callable[[int], None] | None
) -> Path:
    images: list[dict[str, Any]] = []
    annotations: list[Annotation] = []
    mixed = settings.conditions != CLEAR_ONLY
    for done, (seen, found) in enumerate(_scenes(folder / "images", count, seed, settings, workers), start=1):
        image = {"id": done, "file_name": _name(done - 1), "height": settings.height, "width": settings.width}
        image |= {"condition": seen} if mixed else {}
        images.append(image)
        annotations += [{"id": len(annotations) + row, "image_id": done, **item} for row, item in enumerate(found, 1)]
        if progress is not None:
            progress(done)
    info = {"description": "StreetMask synthetic street scenes", "version": VERSION, "seed": seed}
    info |= {"conditions": words_of(settings.conditions)} if mixed else {}
    document = {"info": info, "images": images, "categories": coco_categories(), "annotations": annotations}
    path = folder / "instances.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _scenes(
    folder: Path, count: int, seed: int, settings: SceneSettings, workers: int
) -> Iterator[tuple[str, list[Annotation]]]:
    work = partial(_write_scene, folder, seed, settings)
    if workers == 1:
        yield from map(work, range(count))
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(work, range(count), chunksize=4)


def _write_scene(folder: Path, seed: int, settings: SceneSettings, index: int) -> tuple[str, list[Annotation]]:
    """Write a picture; give its condition and its labels."""
    made = scene(scene_seed(seed, index), settings)
    picture = cv2.cvtColor(made.image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    (folder / _name(index)).write_bytes(data.tobytes())
    return str(made.condition), [_annotation(item, settings) for item in made.instances]


def _annotation(item: SceneInstance, settings: SceneSettings) -> Annotation:
    x0, y0, x1, y1 = item.box_xyxy
    encoded = crop_rle(item.mask.view(np.uint8), (x0, y0), (settings.height, settings.width))
    return {
        "category_id": item.class_index + 1,
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
        "area": item.visible_area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
        "occlusion": round(item.occlusion, 4),
    }


def _name(index: int) -> str:
    return f"{index:06d}.jpg"
