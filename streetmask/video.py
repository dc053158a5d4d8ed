"""Video files that a browser plays: H.264, yuv420p, index at the front."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import cv2

from scene.errors import DataError
from scene.image import RgbImage

_OPTIONS = {"crf": "21", "preset": "veryfast"}


class VideoWriter:
    """Writes frames uint8 [H, W, 3] RGB to an MP4 file at ``rate`` frames per second, in a ``with`` statement.

    The first frame decides the size; later ones of another size are stretched to it. H.264 wants even sides: an odd
    one gets its last row or column twice. Raises ``DataError`` if the file cannot be written.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path = path
        self.frames = 0
        self._rate = rate
        self._container = _create(path)
        self._stream: av.VideoStream | None = None

    def write(self, image: RgbImage) -> None:
        """Append a frame."""
        stream = self._stream or self._open(image)
        frame = av.VideoFrame.from_ndarray(_fitted(image, (stream.height, stream.width)), format="rgb24")
        frame.pts = self.frames
        self._container.mux(stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder holds back, and the index."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, image: RgbImage) -> av.VideoStream:
        height, width = image.shape[:2]
        stream = self._container.add_stream("libx264", rate=self._rate, options=dict(_OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.time_base = 1 / self._rate
        self._stream = stream
        return stream


def _create(path: Path) -> av.container.OutputContainer:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def _fitted(image: RgbImage, size_hw: tuple[int, int]) -> RgbImage:
    missing = size_hw[0] - image.shape[0], size_hw[1] - image.shape[1]
    if missing == (0, 0):
        return image
    if set(missing) <= {0, 1}:
        return cast(RgbImage, cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE))
    return cast(RgbImage, cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA))
