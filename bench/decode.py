"""``bench decode``: what it costs in AP, and saves in time, to decode a JPEG at a half, a quarter or an eighth."""

import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench.accuracy import truth_sha256
from bench.ap_change import KINDS, Matches, ap_change
from bench.machine import Watch
from bench.report import Document, aligned, document, emit, prepare_out
from bench.samples import summary
from export.command import named_data
from export.predictor import Predictor, open_predictor
from scene import jpeg
from scene.artifact import Precision, read_artifact
from scene.errors import ConfigurationError, DataError, require
from scene.image import KEPT_OVER_INPUT, RgbImage, reduction
from scene.instances import instances_on_frame
from serve.engines import EngineName
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED
from training.data.dataset import InstanceDataset
from training.data.location import open_dataset
from training.predictions import MAX_DETECTIONS, Prediction, prediction_of

FULL = "full"
WAYS: dict[str, int | None] = {FULL: 1, "1/2": 2, "1/4": 4, "1/8": 8, "by the rule": None}
"""The ways to decode, by name: at one scale whatever the network's input, or for None at that of the rule."""

_SEED = 1


@dataclass(frozen=True)
class DecodeArguments:
    """Measure box and mask AP, and the decoder's time, on JPEG pictures decoded at every scale and by the rule."""

    target: Annotated[Path, tyro.conf.Positional]
    """Model folder."""
    data: tuple[str, ...]
    """NAME=COCO.json sets of JPEG pictures, pictures beside each."""
    engine: EngineName | None = None
    """Engine of the server; the fastest where none is named."""
    precision: Precision | None = None
    """Precision of the engine."""
    first: int | None = None
    """Only so many pictures of each set."""
    threads: int = 0
    """CPU threads of the engine; 0 for as many as this process may use."""
    resamples: int = 200
    """Draws of the bootstrap that says how far a change can be trusted."""
    out: Path | None = None
    """File for the whole document."""

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigurationError("data", "expected one data set at least")
        require("first", self.first is None or self.first >= 1, "1 or more", self.first)
        require("resamples", self.resamples >= 40, "40 or more", self.resamples)


@dataclass
class Pictures:
    """What was found on a set's pictures until now, by scale: predictions and milliseconds of each picture.

    ``rule`` is the scale that the rule takes for each.
    """

    predictions: dict[int, list[list[Prediction]]] = field(default_factory=lambda: {scale: [] for scale in jpeg.SCALES})
    decode_ms: dict[int, list[float]] = field(default_factory=lambda: {scale: [] for scale in jpeg.SCALES})
    rule: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def of(self, scales: tuple[int, ...]) -> tuple[list[Prediction], list[float]]:
        """Predictions and milliseconds of each picture, each at one of these scales."""
        rows = [row for index, scale in enumerate(scales) for row in self.predictions[scale][index]]
        return rows, [self.decode_ms[scale][index] for index, scale in enumerate(scales)]


def decode(arguments: DecodeArguments) -> int:
    """Measure, print a table, and end in one line of JSON; the exit status."""
    sets = dict(named_data(entry) for entry in arguments.data)
    prepare_out(arguments.out)
    watch, stopped = Watch(), False
    threads = arguments.threads or usable_cpus()
    named = open_predictor(arguments.target, threads, precision=arguments.precision, engine=arguments.engine)
    network_hw = read_artifact(arguments.target).size_hw
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, path in sets.items():
            dataset = open_dataset(path, class_names=named.class_names)
            dataset = dataset if arguments.first is None else dataset.first(arguments.first)
            print(f"measuring {len(dataset)} pictures of {name}", flush=True)
            pictures = measure(named.predict, dataset, network_hw)
            found[name] = score(pictures, dataset, arguments.resamples)
            watch.lap()
    except KeyboardInterrupt:
        stopped = True
    settings = {
        "target": str(arguments.target),
        "data": list(arguments.data),
        "first": arguments.first,
        "threads": threads,
        "resamples": arguments.resamples,
        "runs_on": named.runs_on,
        "network_hw": list(network_hw),
        "kept_over_input": KEPT_OVER_INPUT,
    }
    report = document("decode", watch, settings, stopped, decode=found, errors=[])
    print(*lines(report), sep="\n")
    emit(report, arguments.out)
    return INTERRUPTED if stopped else 0


def measure(predict: Predictor, dataset: InstanceDataset, network_hw: tuple[int, int]) -> Pictures:
    """Decode each picture at every scale, in random order, and ask the network about each; boxes and masks are laid on
    the whole frame. Raises ``DataError`` for a picture that is no JPEG file."""
    found, order = Pictures(), random.Random(_SEED)
    for index in range(len(dataset)):
        data = dataset.picture_path(index).read_bytes()
        size_hw = jpeg.size_hw(data)
        if size_hw is None:
            raise DataError(f"{dataset.picture_path(index)} is no JPEG file; measure on a set of such")
        found.rule.append(reduction(size_hw, network_hw))
        found.sizes.append(size_hw)
        for scale in order.sample(jpeg.SCALES, len(jpeg.SCALES)):
            image, spent_ms = _timed(data, scale)
            found.decode_ms[scale].append(spent_ms)
            found.predictions[scale].append(list(_laid(predict, image, dataset.image_id(index), size_hw)))
    return found


def score(pictures: Pictures, dataset: InstanceDataset, resamples: int) -> dict[str, Any]:
    """By way: AP in [0, 1], its change from decoding in full with the interval, and the decoder's milliseconds."""
    rows: dict[tuple[int, ...], dict[str, Any]] = {}
    scales_of = {way: tuple(fixed or scale for scale in pictures.rule) for way, fixed in WAYS.items()}
    full, full_ms = pictures.of(scales_of[FULL])
    reference = {kind: Matches(full, dataset, kind) for kind in KINDS}
    for scales in dict.fromkeys(scales_of.values()):
        predictions, spent_ms = pictures.of(scales)
        row: dict[str, Any] = {"decode_ms": summary(spent_ms), "samples_decode_ms": spent_ms}
        row["time_over_full"] = summary([own / other for own, other in zip(spent_ms, full_ms, strict=True)])["median"]
        for kind in KINDS:
            matches = Matches(predictions, dataset, kind)
            row[kind] = {"ap": matches.ap(), "change": asdict(ap_change(matches, reference[kind], resamples))}
        rows[scales] = row
    return {
        "images": len(dataset),
        "data_sha256": truth_sha256(dataset),
        "sizes_hw": [list(size) for size in sorted(set(pictures.sizes))],
        "scales_by_rule": {str(scale): pictures.rule.count(scale) for scale in sorted(set(pictures.rule))},
        "ways": {way: rows[scales] for way, scales in scales_of.items()},
    }


def lines(report: Document) -> list[str]:
    """A table for people: AP in percent, its change in points with the interval, and milliseconds."""
    rows = [["data", "decoded", "decode ms", "of full", *(f"{kind} AP" for kind in KINDS)]]
    rows[0] += [f"change of {kind} AP" for kind in KINDS]
    for name, found in report["decode"].items():
        for way, row in found["ways"].items():
            cells = [name, way, f"{row['decode_ms']['median']:.2f}", f"{row['time_over_full']:.2f}"]
            rows.append([*cells, *(f"{100 * row[kind]['ap']:.2f}" for kind in KINDS), *change_cells(row)])
    return aligned(rows)


def change_cells(row: dict[str, Any]) -> list[str]:
    """The change of box and of mask AP in points, with the interval."""
    changes = [row[kind]["change"] for kind in KINDS]
    return [f"{change['points']:+.2f} ({change['low']:+.2f} to {change['high']:+.2f})" for change in changes]


def _timed(data: bytes, scale: int) -> tuple[RgbImage, float]:
    started_s = time.perf_counter()
    image = jpeg.decode(data, scale)
    spent_ms = (time.perf_counter() - started_s) * 1000
    if image is None:
        raise DataError("a picture of the set cannot be decoded; fetch the set again")
    return image, spent_ms


def _laid(predict: Predictor, image: RgbImage, image_id: int, size_hw: tuple[int, int]) -> Iterator[Prediction]:
    """What the network finds on the decoded picture, on the frame of (height, width)."""
    best = predict([image])[0].first(MAX_DETECTIONS)
    return (prediction_of(instance, image_id, size_hw) for instance in instances_on_frame(best, size_hw))
