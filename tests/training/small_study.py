"""A whole study on ten pictures and two steps, with a tiny network: what the tests of studies share."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scene.classes import STREET_CLASSES
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import save_checkpoint
from training.study import RESULT

PICTURES = 10
STREET = replace(TINY, class_names=STREET_CLASSES)


@dataclass(frozen=True)
class SmallStudy:
    """Data sets, weights and the study's folder within one folder; called with words, it is the command."""

    folder: Path

    @property
    def out(self) -> Path:
        """Of the study."""
        return self.folder / "study"

    @property
    def words(self) -> list[str]:
        """What every command line has."""
        named: dict[str, object] = {"target": self.folder / "target", "held-out": self.folder / "held-out",
                                    "start": self.folder / "source.pt", "out": self.out, "steps": 2, "batch": 2,
                                    "workers": 0, "evaluate-every": 1}  # fmt: skip
        return [word for name, value in named.items() for word in (f"--{name}", str(value))]

    def __call__(self, *words: object, preset: tuple[str, ...] = ("--preset", "tiny")) -> int:
        return main(["study", *self.words, *preset, *map(str, words)])

    def plan(self, text: str) -> Path:
        """A plan of one's own."""
        path = self.folder / "plan.toml"
        path.write_text(text)
        return path

    def results(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What is finished, by row and seed's folder."""
        found = sorted(self.out.glob(f"*/*/{RESULT}"))
        return {(path.parent.parent.name, path.parent.name): json.loads(path.read_text()) for path in found}

    def report(self) -> str:
        """The table's file."""
        return (self.out / "study.md").read_text()


def small_study(folder: Path) -> SmallStudy:
    """Three data sets of cars, and in the last four pictures trucks, and weights that know other classes too and fewer
    of the street's."""
    for shift, name in enumerate(("target", "held-out", "source")):
        boxes = [(8 * n + shift, 8, 8 * n + 50, 50 + n) for n in range(PICTURES)]
        rows = [
            annotation(n + 1, rle(rectangle(TINY.size_hw, box)), category_id=3 if n < 6 else 4)
            for n, box in enumerate(boxes)
        ]
        write_coco(folder / name, TINY.size_hw, PICTURES, rows)
    network = seeded_network(replace(TINY, class_names=("person", "dog", "car", "truck")))
    save_checkpoint(folder / "source.pt", network, step=7, data=["a source"])
    return SmallStudy(folder)
