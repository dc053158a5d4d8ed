"""What a study's folder is for: the data, and the recipe and weights of each row, by which later runs are held."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from scene.artifact import file_sha256
from scene.disk import whole_file
from scene.errors import DataError
from training.command import recipe_of
from training.data.location import labels_sha256
from training.loop import difference
from training.study import Study

PLAN = "plan.json"

_MOST_TOLD = 3


class RowRecord(msgspec.Struct, frozen=True):
    """What a row trains: its recipe with all changes, what is said of the network and the pictures beside that, and
    what weights and source set hold, empty for none."""

    recipe: dict[str, Any]
    network: dict[str, Any]
    weights: str
    source: str


class Record(msgspec.Struct, frozen=True):
    """What must stay the same for finished runs to be of use, by content: files may lie elsewhere."""

    target: tuple[str, ...]
    held_out: str
    rows: dict[str, RowRecord]


def take_folder(study: Study) -> None:
    """Make the study's folder, or take up what is there; ``DataError`` where that is of another plan, or damaged.

    A plan may gain rows and seeds; what it has in common with the folder's must be the same.
    """
    path = study.base.out / PLAN
    with study.lock():
        ours = _record(study)
        if path.is_file():
            unlike = list(_unlike(_read(path), ours, study))
            if unlike:
                more = f"; and {len(unlike) - _MOST_TOLD} more" if len(unlike) > _MOST_TOLD else ""
                raise DataError(
                    f"{study.base.out} holds the runs of another plan ({'; '.join(unlike[:_MOST_TOLD])}{more}): choose "
                    "another --out"
                )
        with whole_file(path) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(ours), indent=1))


def row_record(study: Study, name: str, weights: Callable[[Path], str], data: Callable[[Path], str]) -> RowRecord:
    """Of a row, where ``weights`` and ``data`` say what a file or a data set holds."""
    arguments = study.arguments((name, study.plan.seeds[0]))
    recipe = recipe_of(arguments)
    recipe = replace(recipe, preset=arguments.preset or recipe.preset)
    network = {
        "classes": arguments.classes,
        "size": arguments.size,
        "anew": arguments.reinitialise_classes,
        "target_pictures": arguments.target_pictures,
    }
    return RowRecord(
        {key: value for key, value in msgspec.to_builtins(recipe).items() if key not in ("summary", "study_ap")},
        network,
        weights(arguments.start) if arguments.start else "",
        data(arguments.source) if arguments.source else "",
    )


def _record(study: Study) -> Record:
    weights, data = cache(file_sha256), cache(labels_sha256)
    rows = {name: row_record(study, name, weights, data) for name in study.rows}
    held_out = data(study.base.held_out) if study.base.held_out else ""
    found = Record(tuple(map(data, study.base.target)), held_out, rows)
    return msgspec.json.decode(msgspec.json.encode(found), type=Record)  # as it is read: lists for tuples


def _read(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{path} is no record of a study's plan ({error}): choose another --out, or delete it if the runs beside "
            "it are of this plan"
        ) from error


def _unlike(theirs: Record, ours: Record, study: Study) -> Iterator[str]:
    """In what they differ, in words."""
    if theirs.target != ours.target:
        yield "its target had other labels"
    if theirs.held_out != ours.held_out:
        yield "its held-out set had other labels"
    for name, row in theirs.rows.items():
        if name in ours.rows:
            yield from (f"row {name} {words}" for words in _unlike_rows(row, ours.rows[name]))
        else:
            yield f"row {name} is {'left out now' if name in study.plan.rows else 'not in this plan'}"


def _unlike_rows(theirs: RowRecord, ours: RowRecord) -> Iterator[str]:
    if theirs.weights != ours.weights:
        yield "began with other weights"
    if theirs.source != ours.source:
        yield "had another source"
    if told := difference(theirs.recipe, ours.recipe, ()):
        yield f"had another recipe{told}"
    if told := difference(theirs.network, ours.network, ()):
        yield f"had another network{told}"
