"""``bench accuracy``: COCO's box and mask AP through the very path that is timed."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench.engine import device_of
from bench.machine import Watch
from bench.report import Document, document, emit
from bench.runners import Runner
from bench.subjects import EngineName, Subject, open_runner, parse_subjects, write_graphs
from scene.errors import ConfigurationError, DataError
from scene.image import RgbImage
from scene.instances import Detections, Instance
from serve.answer import Answer, FoundInstance, Options
from serve.client import Client
from serve.settings import usable_cpus
from training.data.coco import CocoDataset
from training.evaluate import MAX_DETECTIONS, Prediction, collect_predictions, prediction_of, score_predictions

REFERENCE: EngineName = "torch"
"""The engine that the others' AP is held against: float32, as the checkpoint was trained."""


@dataclass(frozen=True)
class AccuracyArguments:
    """Measure box and mask AP at full frame size, by class and size, and the change against float32 torch."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Model folders, checkpoint files, or servers' HOST:PORT."""
    data: tuple[str, ...]
    """NAME=COCO.json sets, pictures beside each."""
    engines: tuple[EngineName, ...] = ("onnxruntime", "torch")
    """Engines to run each folder and checkpoint on."""
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


Predictions = Callable[[CocoDataset], list[Prediction]]


def accuracy(arguments: AccuracyArguments) -> None:
    """Measure, print a table, and end in one line of JSON."""
    watch, stopped = Watch(), False
    sets = dict(_data_set(entry, arguments.first) for entry in arguments.data)
    rows: dict[str, dict[str, Any]] = {}
    try:
        for name, predictions in _paths(arguments):
            for data_name, dataset in sets.items():
                print(f"measuring {name} on {data_name}", flush=True)
                found = score_predictions(predictions(dataset), dataset)
                rows.setdefault(name, {})[data_name] = found.as_dict()
    except KeyboardInterrupt:
        stopped = True
    report = document(
        "accuracy",
        watch,
        {"data": list(arguments.data), "first": arguments.first, "device": arguments.device},
        stopped,
        accuracy=_with_changes(rows),
    )
    print(*lines(report), sep="\n")
    emit(report, arguments.out)


def lines(report: Document) -> list[str]:
    """A table for people: AP in percent, and its change against torch in float32."""
    rows = [["subject", "data", "box AP", "mask AP", "mask AP50", "change of mask AP"]]
    for name, sets in report["accuracy"].items():
        for data_name, row in sets.items():
            change = row.get("change")
            percents = [
                f"{100 * (value or 0):.2f}" for value in (row["box"]["ap"], row["mask"]["ap"], row["mask"]["ap50"])
            ]
            rows.append([name, data_name, *percents, f"{100 * change['mask_ap']:+.3f}" if change else ""])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def server_predictions(address: str, dataset: CocoDataset) -> list[Prediction]:
    """What a server answers to every whole picture, sent as raw pixels, whatever the scores."""
    predictions: list[Prediction] = []
    with Client(address) as client:
        for index in range(len(dataset)):
            answer = client.segment(dataset.picture(index), Options(score_threshold=0.0, max_instances=MAX_DETECTIONS))
            _check_names(answer, dataset, address)
            predictions += [
                prediction_of(_instance(found), dataset.image_id(index), answer.image_size_hw)
                for found in answer.instances
            ]
    return predictions


def _paths(arguments: AccuracyArguments) -> Iterator[tuple[str, Predictions]]:
    """What predicts, by name: servers by their address, the rest on each engine."""
    addresses = [target for target in arguments.targets if _is_address(target)]
    others = tuple(target for target in arguments.targets if not _is_address(target))
    yield from ((address, partial(server_predictions, address)) for address in addresses)
    common = Subject("", REFERENCE, 1, device_of(arguments.device), arguments.threads or usable_cpus())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for subject in write_graphs(parse_subjects(others, arguments.engines, (1,), common), Path(folder)):
            yield subject.name, partial(collect_predictions, partial(_rows, open_runner(subject)))


def _rows(runner: Runner, frames: list[RgbImage]) -> list[Detections]:
    """One frame at a time, as it is timed."""
    return [row for frame in frames for row in runner.run([frame]).rows]


def _with_changes(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Beside each engine's AP its difference from the same target's float32 torch, where that was measured."""
    for name, sets in rows.items():
        target, _, name_of_engine = name.rpartition("/")
        reference = rows.get(f"{target}/{REFERENCE}", {})
        for data_name, row in sets.items():
            if name_of_engine != REFERENCE and data_name in reference:
                base = reference[data_name]
                row["change"] = {
                    f"{kind}_ap": (row[kind]["ap"] or 0.0) - (base[kind]["ap"] or 0.0) for kind in ("box", "mask")
                }
    return rows


def _instance(found: FoundInstance) -> Instance:
    if found.mask is None:
        raise DataError("the server sent an instance without a mask; it is no StreetMask server of this version")
    return Instance(
        class_index=found.class_index,
        score=found.score,
        mask_score=found.mask_score,
        box_xyxy=found.box_xyxy,
        mask_xy=found.mask.xy,
        mask=found.mask.pixels(),
    )


def _check_names(answer: Answer, dataset: CocoDataset, address: str) -> None:
    for found in answer.instances:
        if dataset.class_names[found.class_index : found.class_index + 1] != (found.class_name,):
            raise DataError(
                f"{address} answers {found.class_name} as class {found.class_index}, which the data set's classes "
                f"({', '.join(dataset.class_names)}) do not hold there"
            )


def _data_set(entry: str, first: int | None) -> tuple[str, CocoDataset]:
    """``NAME=PATH``, or a path that is its own name."""
    name, _, path = entry.rpartition("=")
    dataset = CocoDataset(Path(path))
    return name or Path(path).parent.name, dataset if first is None else dataset.first(first)


def _is_address(target: str) -> bool:
    """HOST:PORT, unless a file of that name lies here."""
    host, _, port = target.rpartition(":")
    return bool(host) and port.isdecimal() and not Path(target).exists()
