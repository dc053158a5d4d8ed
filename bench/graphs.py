"""Graphs that are written for a run: a preset's, a checkpoint's, or a model folder's with another number of rows."""

import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from bench.child import Child
from bench.engine_names import Form
from bench.subjects import Subject, detect_settings, load_segmenter
from bench.worker import peaks
from scene.artifact import Artifact, ModelFile, file_sha256, read_artifact, write_artifact
from scene.errors import DataError

CALIBRATION_PICTURES = 16
"""Generated streets that show ranges to a network that is only timed: enough for that."""

_EXPORT_S = 1800.0
_FLOAT32 = Form("onnx", "float32", fixed_rows=False)


@dataclass(frozen=True)
class Written:
    """A file of a form in a model folder of its own: seconds from the weights to the file, and the most memory that the
    process held which wrote it. An int8 file's are those behind the float32 file's, from which it is made."""

    folder: Path
    path: str
    seconds: float
    host_peak_bytes: int

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
        """The target in that form. Raises ``DataError`` where it cannot be written."""
        key = (subject.target, form)
        if key not in self.written:
            source = self.write(subject, _FLOAT32).folder if (form.kind, form.precision) == ("onnx", "int8") else None
            print(f"writing {subject.target} as {form.kind} in {form.precision}", flush=True)
            folder = self._folder / str(len(self.written))
            child = Child(f"the graph of {subject.target}", _write, subject, form, folder, source)
            try:
                self.written[key] = child.receive(Written, _EXPORT_S)
            finally:
                child.kill()
        return self.written[key]


def write_graphs(subjects: list[Subject], writer: GraphWriter) -> tuple[list[Subject], dict[str, str]]:
    """The subjects with a graph for each that needs one, and by the others' names why theirs could not be written."""
    ready: list[Subject] = []
    errors: dict[str, str] = {}
    for subject in subjects:
        try:
            graph = writer.write(subject, subject.named.form).folder if subject.needs_graph else None
            ready.append(replace(subject, graph=graph))
        except DataError as error:
            errors[subject.name] = str(error)
    return ready, errors


def _write(connection: Connection, subject: Subject, form: Form, folder: Path, source: Path | None) -> None:
    """In a process of its own: write a model folder with that one file, and answer what it took."""
    started_s = time.perf_counter()
    folder.mkdir(parents=True)
    if source is not None:
        described, path = _write_int8(source, folder)
    elif form.kind == "onnx":
        described, path = _write_onnx(subject, form, folder)
    else:
        raise DataError(f"no plan for {form.kind} is built for a run; name a model folder that holds one")
    seconds = time.perf_counter() - started_s
    entry = ModelFile(path, form.kind, form.precision, file_sha256(folder / path))
    write_artifact(replace(described, files=[entry]), folder)
    connection.send(Written(folder, path, round(seconds, 2), peaks().host_peak_bytes))


def _write_onnx(subject: Subject, form: Form, folder: Path) -> tuple[Artifact, str]:
    from export.to_onnx import write_onnx  # noqa: PLC0415 - with torch, in a process of its own
    from export.torch_engine import described  # noqa: PLC0415

    segmenter = load_segmenter(subject.target, detect_settings(subject), f"torch-{form.precision}")
    path = "model.onnx" if form.precision == "float32" else f"model.{form.precision}.onnx"
    write_onnx(segmenter, folder / path, fixed_rows=form.fixed_rows)
    return described(Path(subject.target).name, segmenter, {}), path


def _write_int8(source: Path, folder: Path) -> tuple[Artifact, str]:
    from export.quantize import generated_streets, write_int8  # noqa: PLC0415 - needs onnx

    artifact = read_artifact(source)
    pictures = generated_streets(artifact.size_hw, CALIBRATION_PICTURES)
    write_int8(source / artifact.files[0].path, folder / "model.int8.onnx", pictures)
    return artifact, "model.int8.onnx"
