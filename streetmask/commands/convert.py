"""``streetmask data convert``: a data set in another form."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from scene.errors import ConfigurationError
from streetmask.command_line import show_count
from training.data.cityscapes import CityscapesDataset
from training.data.cityscapes_writer import write_cityscapes
from training.data.coco_writer import write_coco
from training.data.location import open_dataset


@dataclass(frozen=True)
class ConvertArguments:
    """Write a data set, or one split of it, as a COCO JSON with its pictures or in Cityscapes' layout."""

    data: tyro.conf.Positional[Path]
    """COCO JSON, folder with instances.json, DIR:NAME of COCO's own layout, or DIR:SPLIT of Cityscapes'."""
    out: tyro.conf.Positional[Path]
    """Folder to write: instances.json and images/, or leftImg8bit/SPLIT and gtFine/SPLIT."""
    to: Literal["coco", "cityscapes"]
    """Form to write."""
    split: str | None = None
    """Split to write in Cityscapes' layout; that of the data if it has one, else train."""


def convert(arguments: ConvertArguments) -> None:
    """Convert, showing the progress."""
    dataset = open_dataset(arguments.data)
    show = partial(show_count, "pictures", total=len(dataset))
    if arguments.to == "coco":
        if arguments.split is not None:
            raise ConfigurationError("split", "a COCO JSON has no splits; choose the data's by DIR:SPLIT")
        print(f"wrote {write_coco(dataset, arguments.out, show)}")
        return
    own = dataset.split if isinstance(dataset, CityscapesDataset) else "train"
    split = arguments.split or own
    lost = write_cityscapes(dataset, arguments.out, split, show)
    print(f"wrote {arguments.out}:{split}; {lost} instances that others hide wholly, or without a pixel, are not in it")
