"""``streetmask data check``: read a data set once, say what it holds and what would hurt training."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from streetmask.command_line import show_count
from training.data.cityscapes_census import cityscapes_census
from training.data.coco_census import coco_census
from training.data.location import CocoLocation, locate


@dataclass(frozen=True)
class CheckArguments:
    """Read every picture and mask once; print a table and each finding; exit with 1 if one would hurt training."""

    data: tyro.conf.Positional[Path]
    """COCO JSON, folder with instances.json, DIR:NAME of COCO's own layout, or DIR or DIR:SPLIT of Cityscapes'."""
    json: bool = False
    """End in the same as one line of JSON."""


def check(arguments: CheckArguments) -> int:
    """The exit status: 1 if something would hurt training."""
    place, show = locate(arguments.data), partial(show_count, "pictures")
    if isinstance(place, CocoLocation):
        census = coco_census(place.annotation_file, show)
    else:
        census = cityscapes_census(place.root, place.splits, show)
    print(*census.lines(), sep="\n")
    if arguments.json:
        print(json.dumps(census.as_dict()))
    return int(census.errors > 0)
