"""What a data set holds and what is wrong with it: counted in one reading, printed as a table."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import cv2

from scene.errors import DataError
from training.data.picture_file import decode_file
from training.data.sample import SizeHw

SIZES = ("small", "medium", "large")
_SMALL, _MEDIUM = 32**2, 96**2
OUTSIDE_PX = 2.0
"""So far a polygon may reach beyond its picture, and a box differ from its mask: roundings."""


class Fault(Enum):
    """What can be wrong, in the words of the table."""

    EMPTY = "empty data sets"
    MISSING_PICTURE = "missing pictures"
    BROKEN_PICTURE = "broken or truncated pictures"
    WRONG_SIZE = "sizes that disagree"
    MISSING_LABELS = "missing label files"
    BROKEN_LABELS = "broken labels"
    UNKNOWN_CATEGORY = "unknown category ids or labels"
    UNKNOWN_PICTURE = "labels of unlisted pictures"
    DUPLICATE_ID = "duplicate ids"
    DEGENERATE = "empty or degenerate boxes and masks"
    BOX_DIFFERS = "boxes that disagree with their mask"
    OUTSIDE = "masks outside the picture"
    OTHER_CLASS = "classes that are left out"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, in a sentence, and whether it would hurt training."""

    fault: Fault
    place: str
    what: str
    hurts: bool = True

    def __str__(self) -> str:
        return f"{'error' if self.hurts else 'note'}: {self.place}: {self.what}"


@dataclass
class Census:
    """Counts and findings of the data set ``name``; sizes are COCO's, in pixels of mask."""

    name: str
    pictures: int = 0
    instances: Counter[tuple[str, str]] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def count(self, class_name: str, area: float, ignored: bool) -> None:
        """Add an instance or a region to be ignored of so many pixels."""
        if ignored:
            self.ignored[class_name] += 1
        else:
            self.instances[class_name, SIZES[(area >= _SMALL) + (area >= _MEDIUM)]] += 1

    def find(self, fault: Fault, place: object, what: str, hurts: bool = True) -> None:
        """Add a finding."""
        self.findings.append(Finding(fault, str(place), what, hurts))

    def end(self) -> "Census":
        """Itself, when everything was read."""
        if not self.pictures:
            self.find(Fault.EMPTY, self.name, "expected at least one picture, found none")
        elif not self.instances:
            self.find(Fault.EMPTY, self.name, "expected at least one instance, found none")
        return self

    @property
    def errors(self) -> int:
        """How many findings would hurt training."""
        return sum(finding.hurts for finding in self.findings)

    def lines(self) -> list[str]:
        """The table, then every finding."""
        classes = sorted({name for name, _ in self.instances} | set(self.ignored))
        rows = [self._row(name, [name]) for name in classes] + [self._row("all", classes)]
        width = max(len(fault.value) for fault in Fault)
        counts = Counter(finding.fault for finding in self.findings)
        return [
            f"{self.name}: {self.pictures} pictures, {self.instances.total()} instances",
            f"{'':14}" + "".join(f"{title:>9}" for title in (*SIZES, "all", "ignored")),
            *rows,
            *(f"{fault.value:{width}}{counts[fault]:>7}" for fault in Fault),
            *(str(finding) for finding in self.findings),
            f"{self.errors or 'no'} findings that would hurt training",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        classes = sorted({name for name, _ in self.instances})
        counts = Counter(finding.fault for finding in self.findings)
        return {
            "name": self.name,
            "pictures": self.pictures,
            "instances": {name: {size: self.instances[name, size] for size in SIZES} for name in classes},
            "ignored": dict(self.ignored),
            "faults": {fault.name.lower(): counts[fault] for fault in Fault},
            "errors": self.errors,
            "findings": [
                {"fault": each.fault.name.lower(), "place": each.place, "what": each.what, "hurts": each.hurts}
                for each in self.findings
            ],
        }

    def _row(self, title: str, classes: list[str]) -> str:
        sizes = [sum(self.instances[name, size] for name in classes) for size in SIZES]
        counts = [*sizes, sum(sizes), sum(self.ignored[name] for name in classes)]
        return f"{title:14}" + "".join(f"{count:>9}" for count in counts)


def examine_picture(census: Census, path: Path) -> SizeHw | None:
    """Decode a picture and add what is wrong with it; its (height, width) if nothing is."""
    if not path.is_file():
        census.find(Fault.MISSING_PICTURE, path, "expected a picture here, found none")
        return None
    try:
        height, width = decode_file(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION).shape[:2]
    except DataError as error:
        census.find(Fault.BROKEN_PICTURE, path, str(error).removeprefix(f"{path} "))
        return None
    return height, width


def examine_extent(census: Census, place: object, box_xyxy: tuple[float, float, float, float], size_hw: SizeHw) -> None:
    """Add a finding where a mask that spans this box leaves the picture by more than a rounding."""
    x1, y1, x2, y2 = box_xyxy
    beyond = max(-x1, -y1, x2 - size_hw[1], y2 - size_hw[0])
    if beyond > OUTSIDE_PX:
        census.find(
            Fault.OUTSIDE, place, f"its mask reaches {beyond:g} pixels beyond the picture of {size_hw[1]}x{size_hw[0]}"
        )
