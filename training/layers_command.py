"""``streetmask layers``: how far each convolution moved between weight files, and what that suggests to freeze."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from model.weight_file import read_state
from scene.errors import ConfigurationError, DataError, require
from training.convolutions import part_of
from training.freeze_sweep import PAGE, Sweep, report, starts_of, sweep_study
from training.layer_difference import PairDifferences, layer_differences
from training.layer_report import text, write
from training.study_check import checked
from training.study_flags import Trainings
from training.study_folder import take_folder
from training.study_work import trained


@dataclass(frozen=True)
class LayersArguments:
    """Say how far each convolution moved from one weight file to another, and what to freeze by that."""

    pairs: tyro.conf.Positional[tuple[str, ...]]
    """BASE:TUNED: weights before and after a training. Published weights, ImageNet backbones, checkpoints, safetensors;
    of several pairs all of one network."""
    out: Path | None = None
    """Folder for layers.json, layers.md and layers.png, and for the sweep's runs."""
    sweep: bool = False
    """Train on --target from each BASE with more and more of the first convolutions frozen, and draw AP over them."""
    target: Path | None = None
    """Data set that the sweep trains for, named as for `streetmask train`."""
    held_out: Path | None = None
    """Data set on which the sweep measures AP."""
    source: Path | None = None
    """Data set that is mixed in, or whose objects are pasted, where the sweep's recipe does so."""
    recipe: str = "plus-full"
    """The sweep's recipe; of plus-full and plus-imagenet, yolact-full and yolact-imagenet each BASE has its own."""
    every: int = 5
    """Steps of the sweep, in convolutions."""
    most: int | None = None
    """Convolutions that it freezes at most; those of backbone and FPN without it."""
    trainings: tyro.conf.OmitArgPrefixes[Trainings] = field(default_factory=Trainings)


def layers(arguments: LayersArguments) -> int:
    """Print the table and the suggestions; write them, and a picture, where asked to; then the sweep, if it is asked
    for: 1 if a run of it has failed."""
    if not arguments.pairs:
        raise ConfigurationError("pairs", "expected BASE:TUNED at least once, two weight files with a colon between")
    paths = [split_pair(each) for each in arguments.pairs]
    again = next((each for index, each in enumerate(arguments.pairs) if paths[index] in paths[:index]), None)
    if again is not None:
        raise ConfigurationError("pairs", f"expected every pair once, but {again} came twice")
    found = [layer_differences(read_state(base), read_state(tuned)) for base, tuned in paths]
    _require_one_network(found)
    print(text(found))
    if arguments.out is not None:
        print(f"wrote {', '.join(map(str, write(found, arguments.out)))}")
    return _swept(arguments, found) if arguments.sweep else 0


def _swept(arguments: LayersArguments, found: Sequence[PairDifferences]) -> int:
    given = {name: getattr(arguments, name) for name in ("target", "held_out", "out")}
    missing = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is None]
    if missing:
        raise ConfigurationError(
            "sweep", f"expected data and a folder to train in, but {', '.join(missing)} is missing"
        )
    trainings = arguments.trainings
    names = found[0].convolutions
    most = arguments.most
    if most is None:
        most = sum(part_of(name) in ("backbone", "fpn") for name in names)
    require("most", 1 <= most <= len(names), f"1 to {len(names)}, the network's convolutions", most)
    sweep = Sweep(arguments.every, most, trainings.seeds or (1, 2), arguments.recipe, trainings.changes())
    study = checked(sweep_study(sweep, starts_of(found), trainings.base(**given, source=arguments.source)))
    take_folder(study)
    failed = trained(study, trainings.processes)
    print((study.base.out / PAGE).read_text() if (paths := report(study)) else "")
    print(f"wrote {', '.join(map(str, paths))}")
    return int(failed)


def split_pair(words: str) -> tuple[Path, Path]:
    """BASE and TUNED of ``BASE:TUNED``, whose paths may hold colons: divided at the last one that leaves two files.

    Raises ``ConfigurationError`` where there is no colon or one file is another's own, ``DataError`` where a file is
    missing.
    """
    places = [place for place, letter in enumerate(words) if letter == ":"]
    if not places:
        raise ConfigurationError(
            "pairs", f"expected BASE:TUNED, two weight files with a colon between, but {words} came"
        )
    ways = [(Path(words[:place]), Path(words[place + 1 :])) for place in reversed(places)]
    base, tuned = max(ways, key=lambda way: sum(path.is_file() for path in way))
    missing = [f"{path}" for path in (base, tuned) if not path.is_file()]
    if missing:
        raise DataError(f"expected BASE:TUNED, but of {words} there is no file {' and none '.join(missing)}")
    if base.samefile(tuned):
        raise ConfigurationError("pairs", f"expected two files, before and after a training, but {words} is one")
    return base, tuned


def _require_one_network(pairs: Sequence[PairDifferences]) -> None:
    """All pairs have the same layers, of the same sizes where they are comparable."""
    first, *others = pairs
    for pair in others:
        odd = [
            name
            for name in (*first.convolutions, *pair.convolutions)
            if (name in first.convolutions) != (name in pair.convolutions)
        ]
        weights = {each.name: each.weights for each in first.layers}
        odd += [each.name for each in pair.layers if weights.get(each.name, each.weights) != each.weights]
        if odd:
            raise DataError(
                f"expected pairs of one network, but {first.tuned} and {pair.tuned} differ in {len(odd)} convolutions "
                f"such as {odd[0]}: compare them in a command of their own"
            )
