"""Graphs that are written for a run: a preset's, a checkpoint's, or a model folder's with another number of rows."""

import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from bench.child import Child
from bench.engine_names import Form
from bench.subjects import Subject, detect_settings, load_weights_of
from bench.worker import peaks
from scene.artifact import Artifact, ModelFile, Quantisation, file_sha256, read_artifact, write_artifact
from scene.errors import StreetMaskError

CALIBRATION_PICTURES = 16
"""Generated streets that show ranges to a network that is only timed: enough for that."""

_EXPORT_S = 1800.0


@dataclass(frozen=True)
class Written:
    """A file of a form in a model folder of its own: seconds that it took, and the most memory that the process held
    which wrote it. ``source`` is the graph that it was made from, where it is not the weights: its seconds are its own.
    """

    folder: Path
    path: str
    seconds: float
    host_peak_bytes: int
    source: Form | None = None

    @property
    def size_bytes(self) -> int:
        """Of the file on the disk."""
        return (self.folder / self.path).stat().st_size


class GraphWriter:
    """Writes each form of each target once, in folders below one, each in a process of its own.

    So no process that times another engine has torch in its memory, and memory and time are the writing's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: dict[tuple[str, Form], Written] = {}

    def write(self, subject: Subject, form: Form) -> Written:
        """The target in that form. Raises ``StreetMaskError`` where it cannot be written."""
        key = (subject.target, form)
        if key not in self.written:
            source = source_of(form)
            graph = self.write(subject, source).folder if source else None
            print(f"writing {subject.target} as {form.kind} in {form.precision}", flush=True)
            folder = self._folder / str(len(self.written))
            child = Child(f"{form.kind} in {form.precision} of {subject.target}", _write, subject, form, folder, graph)
            try:
                self.written[key] = replace(child.receive(Written, _EXPORT_S), source=source)
                child.join()
            finally:
                child.kill()
        return self.written[key]


def write_graphs(subjects: list[Subject], writer: GraphWriter) -> tuple[list[Subject], dict[str, str]]:
    """The subjects with a graph for each that needs one, and by the others' names why theirs could not be written."""
    ready: list[Subject] = []
    errors: dict[str, str] = {}
    for subject in subjects:
        try:
            form = subject.named.form(subject.batch)
            graph = writer.write(subject, form).folder if subject.needs_graph else None
            ready.append(replace(subject, graph=graph))
        except StreetMaskError as error:
            errors[subject.name] = str(error)
    return ready, errors


def source_of(form: Form) -> Form | None:
    """The graph that a file of the form is made from; None where torch writes it. Raises ``ConfigurationError`` where
    the product that builds a plan is not installed."""
    if form.kind != "onnx":
        from export.to_tensorrt import lowering_for  # noqa: PLC0415 - where TensorRT is installed

        lowering = lowering_for(form.kind)  # type: ignore[arg-type]  # tensorrt or tensorrt-rtx
        return Form("onnx", form.precision, fixed_rows=True, lowering=lowering)
    return form._replace(precision="float32") if form.precision == "int8" else None


def _write(connection: Connection, subject: Subject, form: Form, folder: Path, source: Path | None) -> None:
    """In a process of its own: write a model folder with that one file, and answer what it took."""
    started_s = time.perf_counter()
    folder.mkdir(parents=True)
    if source is None:
        artifact = _write_onnx(subject, form, folder)
    elif form.kind == "onnx":
        artifact = _write_int8(subject, form, source, folder)
    else:
        artifact = _write_plan(form, source, folder)
    seconds = time.perf_counter() - started_s
    write_artifact(artifact, folder)
    connection.send(Written(folder, artifact.files[0].path, round(seconds, 2), peaks().host_peak_bytes))


def _write_onnx(subject: Subject, form: Form, folder: Path) -> Artifact:
    import torch  # noqa: PLC0415 - in a process of its own

    from export.graph import deployable  # noqa: PLC0415
    from export.to_onnx import write_onnx  # noqa: PLC0415
    from export.torch_engine import described  # noqa: PLC0415

    dtype, network = getattr(torch, form.precision), load_weights_of(subject.target)
    segmenter = deployable(network, detect_settings(subject), dtype, form.lowering)  # type: ignore[arg-type]
    name = "model.onnx" if form.precision == "float32" else f"model.{form.precision}.onnx"
    write_onnx(segmenter, folder / name, fixed_rows=form.fixed_rows)
    return _holding(described(Path(subject.target).name, segmenter, {}), folder, form, name)


def _write_int8(subject: Subject, form: Form, source: Path, folder: Path) -> Artifact:
    """Of a preset no layer's error is measured, which takes minutes and of weights that mean nothing says nothing."""
    from export.calibration import generated_streets  # noqa: PLC0415 - needs onnx
    from export.quantize import write_int8  # noqa: PLC0415

    artifact, name = read_artifact(source), "model.int8.onnx"
    pictures = generated_streets(artifact.size_hw, CALIBRATION_PICTURES)
    known = None if Path(subject.target).exists() else Quantisation(0, "percentile", [])
    write_int8(source / artifact.files[0].path, folder / name, pictures, symmetric=form.fixed_rows, known=known)
    return _holding(artifact, folder, form, name)


def _write_plan(form: Form, source: Path, folder: Path) -> Artifact:
    from export.to_tensorrt import PlanRequest, build_plan  # noqa: PLC0415 - where TensorRT is installed

    artifact, name, batch = read_artifact(source), "model.plan", form.batch
    request = PlanRequest(form.kind, batch, batch, batch, compute_capability=form.compute_capability or None)  # type: ignore[arg-type]
    built_for = build_plan(source / artifact.files[0].path, folder / name, request)
    return _holding(artifact, folder, form._replace(lowering=artifact.files[0].lowering), name, built_for)


def _holding(
    artifact: Artifact, folder: Path, form: Form, name: str, built_for: dict[str, str] | None = None
) -> Artifact:
    """The artifact with that one file."""
    entry = ModelFile(name, form.kind, form.precision, file_sha256(folder / name), built_for or {}, form.lowering)
    return replace(artifact, files=[entry])
