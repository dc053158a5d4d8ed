"""A small COCO data set, drawn and written for a test."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.classes import coco_categories


def disc(size_hw: tuple[int, int], centre_xy: tuple[int, int], radius: int) -> NDArray[np.uint8]:
    """A disc of ones, [H, W]."""
    mask = np.zeros(size_hw, np.uint8)
    cv2.circle(mask, centre_xy, radius, 1, -1)
    return mask


def rectangle(size_hw: tuple[int, int], box_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A rectangle of ones, [H, W]."""
    mask = np.zeros(size_hw, np.uint8)
    x1, y1, x2, y2 = box_xyxy
    mask[y1:y2, x1:x2] = 1
    return mask


def rle(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Compressed run lengths, as JSON holds them."""
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def counted(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Uncompressed run lengths, counted one pixel at a time."""
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def annotation(image_id: int, segmentation: Any, category_id: int = 3, iscrowd: int = 0) -> dict[str, Any]:
    """One row of COCO's ``annotations`` with what our reader needs."""
    return {
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": iscrowd,
        "segmentation": segmentation,
    }


def write_coco(folder: Path, size_hw: tuple[int, int], pictures: int, annotations: list[dict[str, Any]]) -> Path:
    """Write so many smooth pictures, ids from 1, and the JSON; its path."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = []
    for image_id in range(1, pictures + 1):
        coarse = rng.integers(0, 256, (3, 5, 3), np.uint8)
        picture = cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), picture)
        images.append(
            {"id": image_id, "file_name": f"images/{image_id}.png", "height": size_hw[0], "width": size_hw[1]}
        )
    rows = [{"id": number, **row} for number, row in enumerate(annotations, start=1)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": coco_categories()}))
    return path
