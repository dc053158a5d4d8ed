"""A COCO JSON (Lin et al. 2014) as it is written: what of it is read, and where its pictures lie."""

from pathlib import Path
from typing import Any

import msgspec

from scene.errors import DataError
from training.data.run_lengths import Segmentation


class CocoImage(msgspec.Struct, gc=False):
    """One of its pictures."""

    id: int
    file_name: str
    height: int
    width: int


class CocoAnnotation(msgspec.Struct, gc=False):
    """One of its instances or crowds."""

    image_id: int
    category_id: int
    segmentation: Segmentation
    iscrowd: int = 0
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None


class CocoCategory(msgspec.Struct, gc=False):
    """One of its classes."""

    id: int
    name: str


class CocoFile(msgspec.Struct, gc=False):
    """The whole JSON."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]
    info: Any = None


def read_coco(path: Path) -> CocoFile:
    """The JSON at ``path``; ``DataError`` where it is missing, malformed or lists no picture."""
    try:
        content = msgspec.json.decode(read_json_bytes(path), type=CocoFile)
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no COCO instance file: {error}; write the data set again") from error
    if not content.images:
        raise DataError(f"{path} lists no pictures; a data set needs at least one")
    return content


def read_json_bytes(path: Path) -> bytes:
    """The file's bytes; ``DataError`` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"expected a COCO JSON at {path}, found none; name an existing file, or make one with "
            "`streetmask data synth DIR`"
        ) from error


def picture_folder(path: Path) -> Path | None:
    """Where COCO's own layout has the pictures of ``annotations/instances_NAME.json``: ``NAME/`` beside that folder."""
    folder = path.parent.parent / path.stem.removeprefix("instances_")
    return folder if path.parent.name == "annotations" and folder.is_dir() else None


def picture_file(path: Path, folder: Path | None, file_name: str) -> Path:
    """Where the JSON's picture of this name lies: in the ``folder``, if there is one; else beside the JSON, or in
    ``images/`` where the name has no folder."""
    name = Path(file_name)
    if folder is not None:
        return folder / name
    return path.parent / (name if len(name.parts) > 1 else Path("images") / name)


def described(info: Any, otherwise: str) -> str:
    """What a JSON's ``info`` says of itself."""
    known = info if isinstance(info, dict) else {}
    about = [str(known.get("description") or otherwise)]
    return ", ".join(about + [f"{name} {known[name]}" for name in ("version", "seed") if name in known])
