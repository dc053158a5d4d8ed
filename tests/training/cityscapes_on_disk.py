"""A small split in Cityscapes' layout, drawn and written for a test."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.cityscapes_layout import Frame

SIZE = (60, 100)
Box = tuple[int, int, int, int]


def block(label: str, box_xyxy: Box, **more: Any) -> dict[str, Any]:
    """A rectangle of whole pixels, end-exclusive, as Cityscapes' polygons hold it."""
    x1, y1, x2, y2 = box_xyxy
    return {"label": label, "polygon": [[x1, y1], [x2 - 1, y1], [x2 - 1, y2 - 1], [x1, y2 - 1]], **more}


def frame_of(root: Path, number: int = 0, split: str = "train", city: str = "aachen") -> Frame:
    """The files of a picture."""
    return Frame(root, split, city, f"{city}_{number:06d}_000019")


def write_picture(frame: Frame, size_hw: tuple[int, int] = SIZE) -> None:
    """A smooth picture."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    frame.picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(frame.picture), cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_LINEAR))


def write_polygons(frame: Frame, objects: list[dict[str, Any]], size_hw: tuple[int, int] = SIZE) -> Frame:
    """The picture with its polygons."""
    write_picture(frame, size_hw)
    frame.polygons.parent.mkdir(parents=True, exist_ok=True)
    frame.polygons.write_text(json.dumps({"imgHeight": size_hw[0], "imgWidth": size_hw[1], "objects": objects}))
    return frame


def write_ids(frame: Frame, ids: NDArray[np.uint16]) -> Frame:
    """The picture with its instance ids [H, W]."""
    write_picture(frame, (ids.shape[0], ids.shape[1]))
    frame.instance_ids.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(frame.instance_ids), ids)
    return frame
