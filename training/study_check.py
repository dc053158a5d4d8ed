"""What can be told of a study's rows before anything is trained: whether each can be, which are one training by two
names, and in which nothing is left to chance."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec

from model.weight_file import read_state
from scene.errors import ConfigurationError, StreetMaskError, require
from training.command import TrainArguments, _begun, _few, _recipe, _require_data, _require_objects
from training.data.location import CocoLocation, locate, open_dataset
from training.feed import AugmentedPictures
from training.start import Start
from training.study import Study
from training.study_folder import row_record


def checked(study: Study) -> Study:
    """The study, knowing of its rows which are alike and which are certain.

    Raises ``ConfigurationError`` with a sentence for each thing that hinders a row which is not finished, all together,
    and where what is measured on is what is trained on.
    """
    _require_apart(study.base)
    reader = _Reader()
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
                new = reader.started(study.arguments((name, study.plan.seeds[0]))).new
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


class _Reader:
    """Prepares rows as ``streetmask train`` does, each file read once."""

    def __init__(self) -> None:
        self.weights, self.data = cache(read_state), cache(open_dataset)

    def started(self, arguments: TrainArguments) -> Start:
        """Its network; raises ``ConfigurationError`` and ``DataError`` for what cannot be trained."""
        recipe = _recipe(arguments)
        _require_data(arguments, recipe)
        start = _begun(arguments, recipe, self.weights(arguments.start) if arguments.start else None)
        config = start.network.config
        measured = [arguments.held_out] if arguments.held_out else []
        for path in (*arguments.target, *measured):
            _require_objects(str(path), self.data(path, config.class_names))
        targets = [self.data(path, config.class_names) for path in arguments.target]
        if (count := arguments.target_pictures) is not None:
            targets = [_few(dataset, count) for dataset in targets]
        source = self.data(arguments.source, config.class_names) if arguments.source else None
        AugmentedPictures(targets, source, recipe, config.size_hw, arguments.seed)
        return start
