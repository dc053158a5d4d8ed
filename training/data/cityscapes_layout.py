"""The folders and file names of Cityscapes: where a split's pictures and their ground truth lie."""

from dataclasses import dataclass
from pathlib import Path

from scene.errors import DataError

PICTURES, TRUTHS = "leftImg8bit", "gtFine"
_PICTURE_END, _IDS_END, _POLYGONS_END = "_leftImg8bit.png", "_gtFine_instanceIds.png", "_gtFine_polygons.json"


@dataclass(frozen=True)
class Frame:
    """One picture's files, whether they are there or not; ``name`` is such as ``aachen_000000_000019``."""

    root: Path
    split: str
    city: str
    name: str

    @property
    def picture(self) -> Path:
        """``leftImg8bit/{split}/{city}/{name}_leftImg8bit.png``."""
        return self.root / PICTURES / self.split / self.city / (self.name + _PICTURE_END)

    @property
    def instance_ids(self) -> Path:
        """``gtFine/{split}/{city}/{name}_gtFine_instanceIds.png``."""
        return self.root / TRUTHS / self.split / self.city / (self.name + _IDS_END)

    @property
    def polygons(self) -> Path:
        """``gtFine/{split}/{city}/{name}_gtFine_polygons.json``."""
        return self.root / TRUTHS / self.split / self.city / (self.name + _POLYGONS_END)

    @property
    def truths(self) -> tuple[Path, ...]:
        """The forms of its ground truth that are there, the exact one first."""
        return tuple(path for path in (self.instance_ids, self.polygons) if path.is_file())


def is_cityscapes(root: Path) -> bool:
    """Whether a folder has Cityscapes' layout."""
    return (root / PICTURES).is_dir() or (root / TRUTHS).is_dir()


def splits_of(root: Path) -> tuple[str, ...]:
    """The splits that have pictures or ground truth there."""
    folders = [path for tree in (PICTURES, TRUTHS) for path in (root / tree).glob("*") if path.is_dir()]
    return tuple(sorted({path.name for path in folders}))


def frames_of(root: Path, split: str) -> list[Frame]:
    """Everything that a split has a picture or ground truth of, sorted by city and name.

    Raises ``DataError`` where there is nothing.
    """
    found = {
        Frame(root, split, path.parent.name, path.name.removesuffix(end))
        for tree, end in ((PICTURES, _PICTURE_END), (TRUTHS, _IDS_END), (TRUTHS, _POLYGONS_END))
        for path in (root / tree / split).glob(f"*/*{end}")
    }
    if not found:
        raise DataError(
            f"{root} has no pictures of the split {split!r}: expected {PICTURES}/{split}/CITY/*{_PICTURE_END} with "
            f"{TRUTHS}/{split}/CITY/*{_IDS_END} or *{_POLYGONS_END}; "
            f"the splits there are {', '.join(splits_of(root)) or 'none'}"
        )
    return sorted(found, key=lambda frame: (frame.city, frame.name))
