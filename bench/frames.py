"""What is shown to the networks: real or generated street pictures, never black ones."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError
from scene.image import RgbImage, parse_size
from serve.frame import EncodedFrame, Encoding
from streetmask.sources import open_source

SEED = 30_000
"""Of the generated pictures. Training, evaluation and the demo use other seeds."""


def load_frames(source: str | None, count: int, size: str | None) -> NDArray[np.uint8]:
    """``count`` pictures at most, uint8 [N, H, W, 3] RGB, of the size ``WIDTHxHEIGHT``.

    ``source`` is a video, a folder of pictures or a picture; None renders streets. Pictures of other sizes than the
    stated one, or than the first picture's where none is stated, are resized. Raises ``DataError`` for no picture.
    """
    wanted_hw = parse_size(size) if size else None
    pictures = _rendered(count, wanted_hw or (720, 1280)) if source is None else islice(open_source(source), count)
    frames: list[RgbImage] = []
    for picture in pictures:
        height, width = wanted_hw or (frames[0].shape[:2] if frames else picture.shape[:2])
        same = picture.shape[:2] == (height, width)
        frames.append(picture if same else _resized(picture, (height, width)))
    if not frames:
        raise DataError(f"{source} holds no picture to measure on")
    return np.stack(frames)


def store_frames(frames: NDArray[np.uint8], folder: Path, jpeg_quality: int | None = None) -> Path:
    """Write pictures [N, H, W, 3] for other processes: as they are, or each as a JPEG file of the quality."""
    if jpeg_quality is None:
        np.save(folder / "frames.npy", frames)
        return folder / "frames.npy"
    path = folder / "frames"
    path.mkdir()
    for number, frame in enumerate(frames):
        (path / f"{number:06}.jpg").write_bytes(EncodedFrame.jpeg(frame, jpeg_quality).data)
    return path


def stored_frames(path: Path) -> NDArray[np.uint8] | list[EncodedFrame]:
    """What was stored there: pictures that are mapped into memory, or files' bytes that lie in it."""
    if path.is_dir():
        return [EncodedFrame(file.read_bytes(), Encoding.JPEG) for file in sorted(path.iterdir())]
    frames: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return frames


def _rendered(count: int, size_hw: tuple[int, int]) -> Iterator[RgbImage]:
    from training.data.synthetic import SceneSettings, scene  # noqa: PLC0415 - one's own pictures need no generator

    settings = SceneSettings(*size_hw)
    for index in range(count):
        yield scene(SEED + index, settings).image


def _resized(picture: RgbImage, size_hw: tuple[int, int]) -> RgbImage:
    height, width = size_hw
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
