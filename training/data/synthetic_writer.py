"""Writes generated pictures as a folder with a COCO JSON, the same for any number of processes."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scene.classes import coco_categories
from scene.errors import ConfigurationError, DataError
from training.data.drawn import Drawn, SceneInstance
from training.data.run_lengths import crop_rle

_JPEG_QUALITY = 92

Annotation = dict[str, Any]


@dataclass(frozen=True)
class Generated:
    """A kind of generated pictures: ``draw`` gives that of a seed (and goes to other processes by pickle).

    ``version`` grows whenever the same seed gives other pixels or labels; ``facts`` are added to the JSON's ``info``.
    """

    draw: Callable[[int], Drawn]
    version: str
    class_names: tuple[str, ...]
    description: str
    facts: Mapping[str, str] = field(default_factory=dict)


def picture_seed(version: str, seed: int, index: int) -> int:
    """The seed of picture ``index`` in the data set with this seed; different data sets share none."""
    low, high = np.random.SeedSequence([int(version), seed, index]).generate_state(2, np.uint32).tolist()
    return int(low) | int(high) << 32


def write_generated(
    kind: Generated,
    folder: Path,
    count: int,
    seed: int,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write ``images/000000.jpg`` and so on and ``instances.json`` into ``folder``; returns the JSON's path.

    The JSON is COCO's: categories from 1, run-length masks with text counts, boxes (x, y, w, h) in pixels,
    plus ``occlusion`` (0-1) per annotation and each picture's facts. The files are the same for any number of
    ``workers``. ``progress`` is called with the number of pictures done. Raises ``ConfigurationError`` for a bad count,
    seed or worker number and ``DataError`` if the folder cannot be written.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigurationError(name, f"expected {least} or more, got {value}; give a larger whole number")
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        return _write(kind, folder, count, seed, workers, progress)
    except OSError as error:
        raise DataError(f"expected a writable folder, got {folder} ({error}); choose another folder") from error


def _write(
    kind: Generated, folder: Path, count: int, seed: int, workers: int, progress: Callable[[int], None] | None
) -> Path:
    images: list[dict[str, Any]] = []
    annotations: list[Annotation] = []
    for done, (entry, found) in enumerate(_pictures(kind, folder / "images", count, seed, workers), start=1):
        images.append({"id": done, "file_name": _name(done - 1), **entry})
        annotations += [{"id": len(annotations) + row, "image_id": done, **item} for row, item in enumerate(found, 1)]
        if progress is not None:
            progress(done)
    info = {"description": kind.description, "version": kind.version, "seed": seed, **kind.facts}
    categories = coco_categories(kind.class_names)
    document = {"info": info, "images": images, "categories": categories, "annotations": annotations}
    path = folder / "instances.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _pictures(
    kind: Generated, folder: Path, count: int, seed: int, workers: int
) -> Iterator[tuple[dict[str, Any], list[Annotation]]]:
    work = partial(_write_picture, kind, folder, seed)
    if workers == 1:
        yield from map(work, range(count))
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(work, range(count), chunksize=4)


def _write_picture(kind: Generated, folder: Path, seed: int, index: int) -> tuple[dict[str, Any], list[Annotation]]:
    """Write a picture; give what its entry in the JSON says beyond its name, and its labels."""
    made = kind.draw(picture_seed(kind.version, seed, index))
    picture = cv2.cvtColor(made.image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    (folder / _name(index)).write_bytes(data.tobytes())
    height, width = made.image.shape[:2]
    entry = {"height": height, "width": width, **made.facts}
    return entry, [_annotation(item, (height, width)) for item in made.instances]


def _annotation(item: SceneInstance, size_hw: tuple[int, int]) -> Annotation:
    x0, y0, x1, y1 = item.box_xyxy
    encoded = crop_rle(item.mask.view(np.uint8), (x0, y0), size_hw)
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
