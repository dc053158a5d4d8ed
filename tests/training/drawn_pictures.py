"""Generated pictures in few words, to compare them, and their masks at full size."""

import numpy as np

from training.data.drawn import Drawn, SceneInstance
from training.data.synthetic import StreetScene


def fingerprint(made: StreetScene | Drawn) -> str:
    labels = [(item.class_index, item.box_xyxy, item.full_area, item.track_id) for item in made.instances]
    checksum = int(
        np.bitwise_xor.reduce(np.frombuffer(made.image.tobytes(), np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    )
    return f"{checksum} {int(made.image.sum())} {labels}"


def pasted(item: SceneInstance, size_hw: tuple[int, int]) -> np.ndarray:
    x0, y0, x1, y1 = item.box_xyxy
    full = np.zeros(size_hw, bool)
    full[y0:y1, x0:x1] = item.mask
    return full
