"""``bench accuracy``: box and mask AP through the very path that is timed."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import tyro

from bench.engine import device_of
from bench.graphs import GraphWriter, write_graphs
from bench.machine import Watch
from bench.report import Document, aligned, document, emit, prepare_out
from bench.runners import Runner
from bench.subjects import (
    Subject,
    class_names,
    open_runner,
    parse_subjects,
    source_sha256,
    those_that_run,
)
from export.command import named_data
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError
from scene.image import RgbImage
from scene.instances import Detections
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED
from streetmask.server_answers import is_address, server_predictions
from training.data.dataset import InstanceDataset
from training.data.location import open_dataset
from training.evaluate import score_predictions
from training.predictions import Prediction, predictions_by_picture, together

REFERENCE = "torch"
"""The engine that the others' AP is held against: the deployed module in float32."""

KINDS = ("box", "mask")


@dataclass(frozen=True)
class AccuracyArguments:
    """Measure box and mask AP at full frame size, by class and size, and the change against float32 torch."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Model folders, checkpoint files, or servers' HOST:PORT."""
    data: tuple[str, ...]
    """NAME=COCO.json sets, pictures beside each."""
    reference: Path | None = None
    """Checkpoint or model folder whose float32 torch the servers' AP is held against."""
    engines: tuple[str, ...] = ("onnxruntime", "torch")
    """Engines to run each folder and checkpoint on, by the names of `bench engine`."""
    first: int | None = None
    """Only so many pictures of each set."""
    device: str = "cpu"
    """cpu, or cuda for the torch engines."""
    threads: int = 0
    """CPU threads of each engine; 0 for as many as this process may use."""
    out: Path | None = None
    """File for the whole document."""

    def __post_init__(self) -> None:
        if not self.targets or not self.data or not self.engines:
            raise ConfigurationError("targets", "expected one target, one data set and one engine at least")
        if self.first is not None and self.first < 1:
            raise ConfigurationError("first", f"expected 1 or more, but {self.first} came")


@dataclass(frozen=True)
class Way:
    """One way from pictures to predictions, a list a picture, held against ``reference``'s float32 torch."""

    name: str
    predict: Callable[[InstanceDataset], Iterator[list[Prediction]]]
    class_names: tuple[str, ...]
    sha256: str
    reference: str


def accuracy(arguments: AccuracyArguments) -> int:
    """Measure, print a table, and end in one line of JSON; the exit status."""
    sets = dict(named_data(entry) for entry in arguments.data)
    if len(sets) < len(arguments.data):
        raise ConfigurationError("data", f"expected another name for each set, but {', '.join(arguments.data)} came")
    for path in sets.values():
        open_dataset(path)  # says what is wrong with it before anything is measured
    prepare_out(arguments.out)
    watch, stopped = Watch(arguments.device), False
    rows: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    try:
        for way in _ways(arguments, left_out):
            for name, path in sets.items():
                print(f"measuring {way.name} on {name}", flush=True)
                _measure(way, name, path, arguments.first, rows)
    except KeyboardInterrupt:
        stopped = True
    settings = {"data": list(arguments.data), "first": arguments.first, "device": arguments.device}
    report = document("accuracy", watch, settings, stopped, accuracy=rows, left_out=left_out, errors=[])
    print(*lines(report), sep="\n")
    emit(report, arguments.out)
    return INTERRUPTED if stopped else 0


def lines(report: Document) -> list[str]:
    """A table for people: AP in percent, and its change against torch in float32."""
    rows = [["subject", "data", "box AP", "mask AP", "mask AP50", "Cityscapes AP", "change of mask AP"]]
    for name, sets in report["accuracy"].items():
        for data_name, row in sets.items():
            values = (row["box"]["ap"], row["mask"]["ap"], row["mask"]["ap50"], row["cityscapes"]["ap"])
            percents = ["-" if value is None else f"{100 * value:.2f}" for value in values]
            change = f"{100 * row['change']['mask_ap']:+.3f}" if "change" in row else ""
            rows.append([name, data_name, *percents, change])
    return aligned(rows) + [f"not measured: {name}: {reason}" for name, reason in report["left_out"].items()]


def truth_sha256(dataset: InstanceDataset) -> str:
    """Of what is scored against, whatever form it is stored in."""
    return hashlib.sha256(msgspec.json.encode(dataset.ground_truth)).hexdigest()


def _measure(way: Way, name: str, path: Path, first: int | None, rows: dict[str, dict[str, Any]]) -> None:
    """Add the row of one way on one set; Ctrl-C leaves that of the pictures which were answered until then."""
    dataset = open_dataset(path, class_names=way.class_names)
    dataset = dataset if first is None else dataset.first(first)
    pictures: list[list[Prediction]] = []
    try:
        for picture in way.predict(dataset):
            pictures += [picture]
    finally:
        if pictures:
            row = _score(way, pictures, dataset, rows.get(way.reference, {}).get(name))
            rows.setdefault(way.name, {})[name] = row | {"data_sha256": truth_sha256(dataset)}


def _score(
    way: Way, pictures: list[list[Prediction]], dataset: InstanceDataset, reference: dict[str, Any] | None
) -> dict[str, Any]:
    """The figures on as many of the set's pictures as were answered, and the change from the reference on as many."""
    row = score_predictions(together(pictures), dataset.first(len(pictures))).as_dict()
    same = reference if reference is not None and reference["images"] == row["images"] else None
    return {**row, "source_sha256": way.sha256} | _change(row, same)


def _ways(arguments: AccuracyArguments, left_out: dict[str, str]) -> Iterator[Way]:
    """Each folder and checkpoint on each engine, float32 torch first, for the others' change; then the servers.

    ``left_out`` is told by name why a subject cannot be measured here.
    """
    addresses = [target for target in arguments.targets if is_address(target)]
    others = tuple(target for target in arguments.targets if not is_address(target))
    engines = tuple(dict.fromkeys((REFERENCE, *arguments.engines)))
    common = Subject("", REFERENCE, 1, device_of(arguments.device), arguments.threads or usable_cpus())
    reference = str(arguments.reference or (others[0] if others else ""))
    extra = (reference,) if arguments.reference and reference not in others else ()
    subjects = parse_subjects(others, engines, (1,), common) + parse_subjects(extra, (REFERENCE,), (1,), common)
    for subject in subjects:
        if not Path(subject.target).exists():
            raise ConfigurationError("targets", f"expected trained weights, but the preset {subject.target} came")
    torch_of = {subject.target: subject.name for subject in subjects if subject.engine == REFERENCE}
    subjects, missing = those_that_run(subjects)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        subjects, errors = write_graphs(subjects, GraphWriter(Path(folder)))
        left_out |= missing | errors
        for subject in subjects:
            runner = open_runner(replace(subject, rows="every"))
            predict = partial(predictions_by_picture, partial(_rows, runner), batch_size=1)
            names, digest = class_names(subject.target), source_sha256(subject)
            yield Way(subject.name, predict, names, digest, torch_of[subject.target])
    names = class_names(reference) if reference else STREET_CLASSES
    for address in addresses:
        yield Way(address, partial(server_predictions, address), names, "", torch_of.get(reference, ""))


def _rows(runner: Runner, frames: list[RgbImage]) -> list[Detections]:
    """What the runner that is timed answers."""
    return runner.run(frames).rows


def _change(row: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, dict[str, float]]:
    """The difference of AP from float32 torch; nothing for that itself and where it was not measured."""
    if reference is None:
        return {}
    return {"change": {f"{kind}_ap": (row[kind]["ap"] or 0.0) - (reference[kind]["ap"] or 0.0) for kind in KINDS}}
