"""The repository: a folder ``NAME/VERSION/`` of artifacts, and what of it may be loaded.

Whoever may ask for a model says a name and a number, never a path, and nothing outside the repository is ever read for
it: neither by the name, nor by a link that somebody put into it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import msgspec

from scene.artifact import MANIFEST
from scene.errors import ArtifactError, ConfigurationError, UnknownModelError

MAX_VERSION = (1 << 31) - 1
"""The largest number that a message holds."""

_LONGEST_NAME = 128
_MANIFEST_BYTES = 16 << 20
_VERSION = re.compile("[1-9][0-9]*")
_SEPARATORS = frozenset("/\\:")


class _Identity(msgspec.Struct):
    """What a manifest says it is of; the rest is checked on loading."""

    name: str
    version: int


class Repository:
    """A folder of models. ``max_bytes`` is the most that all files of a version may have together."""

    def __init__(self, root: Path, max_bytes: int = 2048 << 20) -> None:
        self.root = root.resolve()
        self._max_bytes = max_bytes

    def names(self) -> list[str]:
        """Models with at least one version, sorted."""
        found = (path.name for path in _entries(self.root) if is_name(path.name))
        return sorted(name for name in found if self.versions(name))

    def versions(self, name: str) -> list[int]:
        """A model's versions that have a manifest, rising; raises ``ConfigurationError`` for what is no name."""
        check_name(name)
        numbers = [version_number(path.name) for path in _entries(self.root / name)]
        return sorted(each for each in numbers if each and (self.root / name / str(each) / MANIFEST).is_file())

    def newest(self, name: str) -> int:
        """The highest version; raises ``UnknownModelError`` where there is none."""
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "no model"
            raise UnknownModelError("model_name", f"expected a model of the repository ({known}), but {name!r} came")
        return versions[-1]

    def folder(self, name: str, version: int) -> Path:
        """A version's folder, with all that can be checked before the model itself is read.

        Raises ``ConfigurationError`` for what is no name or number, ``UnknownModelError`` for what is not there, and
        ``ArtifactError`` for links that lead out of the repository, for what is no file, for more bytes than are
        allowed, and for a manifest of another name or version than the folder's.
        """
        if not 0 < version <= MAX_VERSION:
            raise ConfigurationError("model_version", f"expected 1 to {MAX_VERSION}, but {version} came")
        if version not in self.versions(name):
            known = ", ".join(map(str, self.versions(name))) or "none"
            raise UnknownModelError(
                "model_version", f"expected a version of {name} in the repository ({known}), but {version} came"
            )
        folder = self.root / name / str(version)
        self._check_files(folder)
        _check_identity(folder, name, version)
        return folder

    def _check_files(self, folder: Path) -> None:
        """Links are followed, to where nothing outside is reached; sizes are added up before anything is read."""
        total = 0
        for path in (folder, *_walk(folder)):
            status = self._inside(path).stat()
            if S_ISREG(status.st_mode):
                total += status.st_size
            elif not S_ISDIR(status.st_mode):
                raise ArtifactError(f"{path} is neither a file nor a folder; take it away")
            if total > self._max_bytes:
                raise ArtifactError(
                    f"{folder} has more than {self._max_bytes >> 20} MiB of files; raise max_artifact_mib if it should"
                )

    def _inside(self, path: Path) -> Path:
        try:
            resolved = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise ArtifactError(f"{path} is a link to nothing; take it away or fetch the folder again") from error
        if not resolved.is_relative_to(self.root):
            raise ArtifactError(f"{path} leads out of the repository {self.root}; put the file itself there")
        return resolved


def check_name(name: str) -> None:
    """Raise ``ConfigurationError`` for what is no plain name of a folder."""
    if not is_name(name):
        raise ConfigurationError(
            "model_name",
            f"expected a folder's plain name of at most {_LONGEST_NAME} characters, but {name[:_LONGEST_NAME]!r} came",
        )


def version_number(name: str) -> int | None:
    """The version that a folder is called after, None for any other folder."""
    return int(name) if _VERSION.fullmatch(name) and len(name) <= 10 and int(name) <= MAX_VERSION else None


def is_name(name: str) -> bool:
    """Whether it can be a model's: no path, not hidden, without characters that a log or a terminal would obey."""
    return 0 < len(name) <= _LONGEST_NAME and name[0] != "." and name.isprintable() and not _SEPARATORS & set(name)


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below the folder; linked folders are named, and not gone into."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent) / name


def _check_identity(folder: Path, name: str, version: int) -> None:
    """What else is wrong with a manifest is told when it is loaded."""
    path = folder / MANIFEST
    if path.stat().st_size > _MANIFEST_BYTES:
        raise ArtifactError(f"{path} has more than {_MANIFEST_BYTES >> 20} MiB, and is no manifest; export again")
    data: Any = path.read_bytes()
    try:
        said = msgspec.json.decode(data, type=_Identity)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path} is damaged: {error}; export the checkpoint again") from error
    if (said.name, said.version) != (name, version):
        raise ArtifactError(
            f"{path} is of {said.name} version {said.version}; its folder should be {said.name}/{said.version}, not "
            f"{name}/{version}: rename one of them"
        )
