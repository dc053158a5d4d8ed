"""The artifact: a folder ``NAME/VERSION/`` that holds a deployable model and says everything about it.

``artifact.json`` beside ``model.onnx`` is the whole interface between export and serving: readable by people, checked
on loading. A plan for one GPU, when built, is one more entry of ``files``, stored as built.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from scene.errors import ArtifactError

SCHEMA_VERSION = 2

Precision = Literal["float32", "bfloat16", "float16", "int8"]
"""What convolutions compute in. A file is float32, float16 or int8; in bfloat16 an engine runs a float32 one."""

MANIFEST = "artifact.json"

OUTPUTS = ("num", "boxes", "scores", "mask_scores", "classes", "masks")
"""The graph's outputs, in order; its one input that must be given is ``image``."""

SCORE_THRESHOLD = "score_threshold"
"""The graph's second input, float32 [], with a default: rows that score no more are zero. Not every engine has it."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of the graph: its dtype by numpy's name and its shape, "B" standing for the dynamic batch."""

    dtype: str
    shape: list[int | str]


@dataclass(frozen=True)
class GoldenFrame:
    """A picture in the folder and what the exporting machine answered to it, for a check on every load.

    ``boxes_xyxy`` in [0, 1] of the frame, rows sorted by score, falling; ``mask_pixels`` counts mask values >= 128.
    """

    path: str
    classes: list[int]
    scores: list[float]
    boxes_xyxy: list[list[float]]
    mask_pixels: list[int]


@dataclass(frozen=True)
class ModelFile:
    """One runnable form of the model. ``engine`` is onnx, tensorrt, tensorrt-rtx, or torch for weights; ``built_for``,
    empty but for a plan, names version, GPU and batch sizes; ``lowering`` is the operator that holds its deformable
    convolutions."""

    path: str
    engine: str
    precision: Precision
    sha256: str
    built_for: dict[str, str] = field(default_factory=dict)
    lowering: str = ""


@dataclass(frozen=True)
class Verification:
    """What one file answers on one engine, held against torch's deployed graph in float32.

    ``precision`` is what the engine computed in; ``figures`` by name; ``golden`` its answer to the golden frame;
    ``remarks`` say what could not be judged, and ``beyond`` which limits it does not keep: it was published all the
    same, because its user allowed it. ``judged`` is False where not one of its limits could be judged.
    """

    file: str
    engine: str
    precision: Precision
    figures: dict[str, float]
    golden: GoldenFrame | None = None
    remarks: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    judged: bool = True


@dataclass(frozen=True)
class LayerSensitivity:
    """How much one convolution, alone in eight bits, moves the network's raw outputs: ``error`` is the root of the mean
    square of the change over that of the outputs. ``kept`` says that it stays as it was."""

    layer: str
    error: float
    kept: bool


@dataclass(frozen=True)
class Quantisation:
    """How an int8 file came about: pictures that showed its ranges, the method of ranges, and every layer, the most
    sensitive first."""

    pictures: int
    ranges: str
    layers: list[LayerSensitivity]


@dataclass(frozen=True)
class ModelCard:
    """What a user must know before trusting the model: what it is for, what it saw, what it may be used for."""

    summary: str
    training_data: str
    licence: str
    limits: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """The manifest. ``size_hw`` is the network's input; ``thresholds`` has one drawing threshold a class; ``verified``
    is what every file answers on the engines of the machine that exported it."""

    schema_version: int
    name: str
    version: int
    class_names: list[str]
    size_hw: tuple[int, int]
    color_order: str
    max_detections: int
    mask_size_hw: tuple[int, int]
    thresholds: list[float]
    tensors: dict[str, TensorSpec]
    files: list[ModelFile]
    golden: GoldenFrame
    card: ModelCard
    source_checkpoint_sha256: str
    tools: dict[str, str]
    verified: list[Verification] = field(default_factory=list)
    quantisation: Quantisation | None = None

    def golden_of(self, file: str, engine: str, precision: Precision) -> GoldenFrame:
        """What the file answered to the golden frame on the engine where it was exported: in that precision, or on
        another engine in that precision, or, in float32, as every engine should."""
        alike = [each for each in self.verified if (each.file, each.precision) == (file, precision) and each.golden]
        alike.sort(key=lambda each: each.engine != engine)
        return (alike[0].golden if alike else None) or self.golden

    def trusted(self, precision: Precision) -> bool:
        """Whether that precision was verified on an engine and kept its limits, some of which could be judged, on all
        that were tried; float32 is the network itself."""
        found = [each for each in self.verified if each.precision == precision]
        return precision == "float32" or (bool(found) and all(each.judged and not each.beyond for each in found))


def read_artifact(folder: Path) -> Artifact:
    """Read and check the manifest and the files that it names; raise ``ArtifactError`` with what to do."""
    artifact = _parse_manifest(folder)
    if artifact.schema_version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{folder / MANIFEST} has schema version {artifact.schema_version}, this StreetMask reads "
            f"{SCHEMA_VERSION}; export the checkpoint again"
        )
    _check_fields(artifact, folder)
    for entry in artifact.files:
        _check_file(folder, entry)
    for golden in (artifact.golden, *(each.golden for each in artifact.verified if each.golden)):
        _check_name(folder, golden.path)
    return artifact


def write_artifact(artifact: Artifact, folder: Path) -> Path:
    """Write the manifest into the folder, indented, and return its path."""
    path = folder / MANIFEST
    path.write_bytes(msgspec.json.format(msgspec.json.encode(artifact), indent=2) + b"\n")
    return path


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tensor_specs(size_hw: tuple[int, int], max_detections: int, mask_size_hw: tuple[int, int]) -> dict[str, TensorSpec]:
    """The graph contract as tensors: one input and the six outputs, batch dynamic."""
    rows: list[int | str] = ["B", max_detections]
    shapes: dict[str, tuple[str, list[int | str]]] = {
        "image": ("uint8", ["B", *size_hw, 3]),
        "num": ("int32", ["B"]),
        "boxes": ("float32", [*rows, 4]),
        "scores": ("float32", rows),
        "mask_scores": ("float32", rows),
        "classes": ("int32", rows),
        "masks": ("uint8", [*rows, *mask_size_hw]),
    }
    return {name: TensorSpec(dtype, shape) for name, (dtype, shape) in shapes.items()}


def _parse_manifest(folder: Path) -> Artifact:
    path = folder / MANIFEST
    try:
        data: Any = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"expected a model folder with {MANIFEST} at {folder}, found none; "
            "name one such as models/street-nano/1, or make one with `streetmask export`"
        ) from error
    try:
        return msgspec.json.decode(data, type=Artifact)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path} is damaged: {error}; export the checkpoint again") from error


def _check_fields(artifact: Artifact, folder: Path) -> None:
    """Hold what must agree together: the tensors with the sizes, the thresholds with the classes."""
    expected = tensor_specs(artifact.size_hw, artifact.max_detections, artifact.mask_size_hw)
    if artifact.tensors != expected:
        raise ArtifactError(f"the tensors in {folder / MANIFEST} are not those of the graph contract for its sizes")
    if len(artifact.thresholds) != len(artifact.class_names):
        raise ArtifactError(
            f"{folder / MANIFEST} names {len(artifact.class_names)} classes but {len(artifact.thresholds)} thresholds"
        )
    if not artifact.files:
        raise ArtifactError(f"{folder / MANIFEST} names no model file; export the checkpoint again")


def _check_file(folder: Path, entry: ModelFile) -> None:
    _check_name(folder, entry.path)
    path = folder / entry.path
    if not path.is_file():
        raise ArtifactError(f"{path} is missing, though {MANIFEST} names it; export again or fetch the folder whole")
    if file_sha256(path) != entry.sha256:
        raise ArtifactError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}; fetch the folder again")


def _check_name(folder: Path, name: str) -> None:
    if Path(name).name != name:
        raise ArtifactError(f"{folder / MANIFEST} names the file {name}, which is none of its own folder")
