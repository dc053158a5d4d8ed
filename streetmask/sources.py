"""Where pictures come from: a video file, a folder of pictures, one picture, a camera, or an RTSP address."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, cast

import av
import cv2
import numpy as np

from scene.errors import DataError, FrameError
from scene.image import RgbImage, decode_image

PICTURES = (".jpg", ".jpeg", ".png")

PICTURES_RATE = Fraction(10)
"""Frames per second at which a folder of pictures is shown."""

_USUAL_RATE = Fraction(25)


class Source(Protocol):
    """Frames uint8 [H, W, 3] RGB at ``rate`` frames per second.

    A live source comes at its own pace, ends when it is cut off, and cannot be read a second time.
    """

    @property
    def rate(self) -> Fraction: ...

    @property
    def live(self) -> bool: ...

    def __iter__(self) -> Iterator[RgbImage]: ...


@dataclass(frozen=True)
class VideoFile:
    """A video file; each iteration reads it from the beginning. Raises ``DataError`` if it is none."""

    path: Path
    live: bool = False

    @property
    def rate(self) -> Fraction:
        """The average rate that the file states."""
        with _open_video(str(self.path)) as container:
            return _rate(container)

    def __iter__(self) -> Iterator[RgbImage]:
        with _open_video(str(self.path)) as container:
            yield from _frames(container)


@dataclass(frozen=True)
class Pictures:
    """Picture files in order. Raises ``DataError`` for a file that is none."""

    paths: tuple[Path, ...]
    rate: Fraction = PICTURES_RATE
    live: bool = False

    def __iter__(self) -> Iterator[RgbImage]:
        for path in self.paths:
            yield _read_picture(path)


@dataclass(frozen=True)
class NetworkCamera:
    """An RTSP address."""

    address: str
    rate: Fraction = _USUAL_RATE
    live: bool = True

    def __iter__(self) -> Iterator[RgbImage]:
        with _open_video(self.address, {"rtsp_transport": "tcp"}) as container:
            yield from _frames(container)


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, by its index from 0."""

    index: int
    rate: Fraction = _USUAL_RATE
    live: bool = True

    def __iter__(self) -> Iterator[RgbImage]:
        camera = cv2.VideoCapture(self.index)
        if not camera.isOpened():
            raise DataError(f"camera {self.index} cannot be opened: expected the index of a camera of this machine")
        try:
            while True:
                good, frame = camera.read()
                if not good:
                    return
                yield cast(RgbImage, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        finally:
            camera.release()


def open_source(text: str) -> Source:
    """The source that a user means: a path, a camera's index, or an RTSP address. Raises ``DataError``."""
    if text.startswith(("rtsp://", "rtsps://")):
        return NetworkCamera(text)
    path = Path(text)
    if path.is_dir():
        return Pictures(_pictures_in(path))
    if path.is_file():
        return Pictures((path,)) if path.suffix.lower() in PICTURES else VideoFile(path)
    if text.isdecimal():
        return Camera(int(text))
    raise DataError(
        f"{text} is not there: expected a video, a picture, a folder, a camera's index or an rtsp:// address"
    )


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    paths = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES))
    if not paths:
        raise DataError(f"{folder} has no pictures: expected files that end in {', '.join(PICTURES)}")
    return paths


def _read_picture(path: Path) -> RgbImage:
    try:
        return decode_image(path.read_bytes())
    except (OSError, FrameError) as error:
        raise DataError(f"{path}: {error}") from error


def _open_video(address: str, options: dict[str, str] | None = None) -> av.container.InputContainer:
    try:
        container = av.open(address, options=options or {}, timeout=10.0)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{address} cannot be read as a video: {error.strerror}") from error
    if not container.streams.video:
        container.close()
        raise DataError(f"{address} has no pictures in it, only sound or text")
    container.streams.video[0].thread_type = "AUTO"
    return container


def _rate(container: av.container.InputContainer) -> Fraction:
    stream = container.streams.video[0]
    return stream.average_rate or stream.guessed_rate or _USUAL_RATE


def _frames(container: av.container.InputContainer) -> Iterator[RgbImage]:
    """Decoded frames, upright; a file that breaks off ends there, as a player shows it."""
    try:
        for frame in container.decode(video=0):
            turns = round(frame.rotation / 90) % 4
            image = frame.to_ndarray(format="rgb24")
            yield cast(RgbImage, np.ascontiguousarray(np.rot90(image, turns)) if turns else image)
    except av.FFmpegError as error:
        raise DataError(f"{container.name} breaks off: {error.strerror}") from error
