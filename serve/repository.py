"""The repository: a folder ``NAME/VERSION/`` of artifacts, and what of it may be loaded."""

from pathlib import Path


class Repository:
    """A folder of models. ``max_bytes`` is the most that a version may take on the disk."""

    def __init__(self, root: Path, max_bytes: int = 2048 << 20) -> None:
        raise NotImplementedError

    def names(self) -> list[str]:
        """Models with at least one whole version, sorted."""
        raise NotImplementedError

    def versions(self, name: str) -> list[int]:
        """A model's whole versions, rising; raises ``ConfigurationError`` for what is no name."""
        raise NotImplementedError

    def newest(self, name: str) -> int:
        """The highest version; raises ``UnknownModelError`` where there is none."""
        raise NotImplementedError

    def folder(self, name: str, version: int) -> Path:
        """A version's folder, checked as far as that goes without reading the model; raises ``StreetMaskError``."""
        raise NotImplementedError
