"""Where pictures come from: a video file, a folder of pictures, one picture, a camera, or an RTSP address."""

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
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
"""Of a live source that states no rate, or none that a camera has."""

_CAMERA_RATES = (1, 240)


class Source(Protocol):
    """Frames uint8 [H, W, 3] RGB at ``rate`` frames per second.

    A live source comes at its own pace, ends when it is cut off, and cannot be read a second time.
    """

    @property
    def rate(self) -> Fraction: ...

    @property
    def live(self) -> bool: ...

    def __iter__(self) -> Iterator[RgbImage]: ...


class _Complaint:
    """Says on stderr that packets were skipped; once, though a file is read a second time to be drawn upon."""

    def __init__(self) -> None:
        self._said = False

    def say(self, name: str, skipped: int) -> None:
        if skipped and not self._said:
            print(f"{name} is damaged; packets skipped: {skipped}", file=sys.stderr)
            self._said = True


class _Learned:
    """The rate that a live source stated when it was opened: while it is in use it may not open again."""

    def __init__(self) -> None:
        self.rate: Fraction | None = None


@dataclass(frozen=True)
class VideoFile:
    """A video file; each iteration reads it from the beginning, without the packets that are damaged.

    Raises ``DataError`` if it is none.
    """

    path: Path
    live: bool = False
    _complaint: _Complaint = field(default_factory=_Complaint, init=False, repr=False, compare=False)

    @property
    def rate(self) -> Fraction:
        """The average rate that the file states."""
        with _open_video(str(self.path)) as container:
            return _rate(container)

    def __iter__(self) -> Iterator[RgbImage]:
        with _open_video(str(self.path)) as container:
            skipped = yield from _frames(container)
        self._complaint.say(str(self.path), skipped)


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
    live: bool = True
    _learned: _Learned = field(default_factory=_Learned, init=False, repr=False, compare=False)

    @property
    def rate(self) -> Fraction:
        """The rate that the stream states; opens it if it was not opened before."""
        if self._learned.rate is None:
            self._open().close()
        return self._learned.rate or _USUAL_RATE

    def __iter__(self) -> Iterator[RgbImage]:
        with self._open() as container:
            skipped = yield from _frames(container)
        _Complaint().say(self.address, skipped)

    def _open(self) -> av.container.InputContainer:
        container = _open_video(self.address, {"rtsp_transport": "tcp"})
        stream = container.streams.video[0]
        self._learned.rate = _camera_rate(stream.average_rate, stream.guessed_rate)
        return container


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, by its index from 0."""

    index: int
    live: bool = True
    _learned: _Learned = field(default_factory=_Learned, init=False, repr=False, compare=False)

    @property
    def rate(self) -> Fraction:
        """The rate that the driver states; opens the camera if it was not opened before."""
        if self._learned.rate is None:
            self._open().release()
        return self._learned.rate or _USUAL_RATE

    def __iter__(self) -> Iterator[RgbImage]:
        camera = self._open()
        try:
            while True:
                good, frame = camera.read()
                if not good:
                    return
                yield cast(RgbImage, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        finally:
            camera.release()

    def _open(self) -> cv2.VideoCapture:
        camera = cv2.VideoCapture(self.index)
        if not camera.isOpened():
            raise DataError(f"camera {self.index} cannot be opened: expected the index of a camera of this machine")
        self._learned.rate = _camera_rate(camera.get(cv2.CAP_PROP_FPS))
        return camera


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


def _camera_rate(*stated: Fraction | float | None) -> Fraction:
    """The first of the stated rates that a camera may have; the usual one if there is none."""
    low, high = _CAMERA_RATES
    sane = (Fraction(rate) for rate in stated if rate is not None and low <= rate <= high)
    return next(sane, _USUAL_RATE).limit_denominator(1001)


def _frames(container: av.container.InputContainer) -> Generator[RgbImage, None, int]:
    """Decoded frames, upright; a file that breaks off ends there, as a player shows it.

    Returns how many packets were damaged and skipped, as a player does.
    """
    skipped = given = 0
    try:
        for packet in container.demux(video=0):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                skipped += 1
                continue
            for frame in decoded:
                yield _upright(frame)
                given += 1
    except av.FFmpegError as error:
        raise DataError(f"{container.name} breaks off: {error.strerror}") from error
    if skipped and not given:
        raise DataError(f"{container.name} is damaged: none of its {skipped} packets can be decoded")
    return skipped


def _upright(frame: av.VideoFrame) -> RgbImage:
    turns = round(frame.rotation / 90) % 4
    image = frame.to_ndarray(format="rgb24")
    return cast(RgbImage, np.ascontiguousarray(np.rot90(image, turns)) if turns else image)
