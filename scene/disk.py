"""Files that are written whole or not at all, and the word for a disk that has no room for them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scene.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MEGABYTE = 1e6


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream to a file that takes its name when all is written.

    A process killed at any moment leaves either the old file or the new one; so does a full disk, for which there is a
    ``DataError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with writing(path), partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except DataError:
        partial.unlink(missing_ok=True)  # for whatever else needs the space
        raise
    partial.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell of a disk that has no room for the file, or for as much of it: ``DataError``."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch raises an error of its own while it handles the system's.
        cause = next((each for each in (error, error.__context__) if getattr(each, "errno", None) in _FULL), None)
        if not isinstance(cause, OSError):
            raise
        raise DataError(
            f"cannot write {path}: {cause.strerror}; what was saved before is whole: make room and run the same "
            "command again"
        ) from error


def require_room(folder: Path, size_bytes: int, what: str = "a checkpoint") -> None:
    """``DataError`` where the disk of an existing folder has no room for ``what``, which takes so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise DataError(
            f"{folder} has room for {free / _MEGABYTE:.0f} MB, but {what} takes about "
            f"{size_bytes / _MEGABYTE:.0f}: make room or choose another --out"
        )
