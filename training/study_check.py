"""What can be told of a study's rows before anything is trained: whether each can be, which are one training by two
names, and in which nothing is left to chance."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec

from model.weight_file import read_state
from scene.errors import ConfigurationError, StreetMaskError, require
from training.command import TrainArguments, ingredients, recipe_of
from training.data.location import CocoLocation, locate, open_dataset
from training.study import Study
from training.study_folder import row_record


def checked(study: Study) -> Study:
    """The study, knowing of its rows which are alike and which are certain.

    Raises ``ConfigurationError`` with a sentence for each thing that hinders a row which is not finished, all together,
    and where what is measured on is what is trained on.
    """
    _require_apart(study.base)
    weights, data = cache(read_state), cache(open_dataset)  # each file is read once
    unfinished = {name for name, _ in study.unfinished()}
    hindered: dict[str, list[str]] = {}
    known: dict[bytes, str] = {}
    same_as: dict[str, str] = {}
    certain: list[str] = []
    for name in study.rows:
        untrained = not study.plan.rows[name].of_recipe.steps
        try:
            first = known.setdefault(msgspec.json.encode(row_record(study, name, str, str)), name)
            if first != name:
                same_as[name] = first
            elif untrained or name in unfinished:
                arguments = study.arguments((name, study.plan.seeds[0]))
                new = ingredients(arguments, recipe_of(arguments), weights, data).start.new
                certain += [name] if untrained and not new else []
        except StreetMaskError as error:
            hindered.setdefault(str(error), []).append(name)
    if hindered:
        told = [f"- {', '.join(names)}: {sentence}" for sentence, names in hindered.items()]
        raise ConfigurationError(
            "rows", "expected rows that can be trained, but some came that cannot:\n" + "\n".join(told)
        )
    return replace(study, same_as=same_as, certain=frozenset(certain))


def _require_apart(base: TrainArguments) -> None:
    for target in base.target:
        same = base.held_out is not None and _resolved(base.held_out) == _resolved(target)
        require("held_out", not same, "other pictures than those of --target", str(base.held_out))


def _resolved(data: Path) -> tuple[Path, tuple[str, ...]]:
    place = locate(data)
    if isinstance(place, CocoLocation):
        return place.annotation_file.resolve(), ()
    return place.root.resolve(), place.splits
