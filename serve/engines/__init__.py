"""What runs the network: arrays in, arrays out. Every engine keeps the graph contract and knows no labels."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from scene.artifact import Artifact, ModelFile, Precision
from scene.errors import ArtifactError, ConfigurationError

EngineName = Literal["onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "openvino", "tensorrt", "tensorrt-rtx"]

ON_CPU: frozenset[EngineName] = frozenset({"onnxruntime", "openvino"})
"""The engines that run on the CPU; the others need a GPU."""


class Outputs(NamedTuple):
    """The graph's six outputs for B frames and K rows; rows from ``num`` on are zero.

    ``num`` int32 [B]; ``boxes`` float32 [B, K, 4], xyxy in [0, 1] of the frame; ``scores`` and ``mask_scores``
    float32 [B, K] in [0, 1], rows by falling score; ``classes`` int32 [B, K] from 0; ``masks`` uint8 [B, K, h, w],
    255 x probability.
    """

    num: NDArray[np.int32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    mask_scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    masks: NDArray[np.uint8]


class Engine(Protocol):
    """A loaded network. Called from one thread at a time; blocks until the answer is there."""

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size.

        Whoever asks needs no row that scores ``score_threshold`` or less; an engine may leave such rows out, to be done
        sooner, and does not touch the others.
        """
        ...


@dataclass(frozen=True)
class Way:
    """A file of an artifact on an engine, and what convolutions then compute in."""

    engine: EngineName
    precision: Precision
    file: ModelFile

    @property
    def name(self) -> str:
        """For people: ``openvino in int8``."""
        return f"{self.engine} in {self.precision}"


def named(way: str) -> tuple[EngineName, Precision]:
    """The engine and what it computes in, of a ``Way.name``."""
    engine, _, precision = way.partition(" in ")
    return cast(EngineName, engine), cast(Precision, precision)


_PLANS: dict[Precision, tuple[Precision, ...]] = {"int8": ("int8",), "float16": ("float16",), "float32": ("float32",)}
"""A plan computes in what it was built in; of several, the one of the fewest bits comes first."""

_RUNS: dict[EngineName, tuple[str, dict[Precision, tuple[Precision, ...]]]] = {
    "tensorrt": ("tensorrt", _PLANS),
    "tensorrt-rtx": ("tensorrt-rtx", _PLANS),
    "onnxruntime-tensorrt": ("onnx", {"float16": ("float16",)}),
    "onnxruntime-cuda": ("onnx", {"float16": ("float16",), "float32": ("float32",)}),
    "openvino": ("onnx", {"int8": ("int8",), "float32": ("bfloat16", "float32")}),
    "onnxruntime": ("onnx", {"int8": ("int8",), "float32": ("float32",)}),
}
"""Of each engine, the likely fastest first: whose files it takes, and what it computes in with a file's precision.
float16 files are for GPUs: a CPU widens each of their numbers. ONNX Runtime's TensorRT provider has no option against
TF32, unlike its CUDA provider, and would compute a float32 file with factors of ten bits."""

_NEEDS = {
    "onnxruntime": ("onnxruntime", "serve"),
    "openvino": ("openvino", "openvino"),
    "onnxruntime-cuda": ("onnxruntime", "cuda"),
    "onnxruntime-tensorrt": ("onnxruntime", "cuda"),
    "tensorrt": ("tensorrt", "tensorrt"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt-rtx"),
}
"""The package of each engine and the extra of ours that installs it."""


def ways(artifact: Artifact, engine: EngineName | None = None, precision: Precision | None = None) -> list[Way]:
    """The ways to run the artifact on this machine, of one engine and precision or of any, the likely fastest first.

    Without a ``precision`` only those that can be trusted: float32, and what verification found to keep its limits.
    Raises ``ConfigurationError`` for an engine that cannot run here, ``ArtifactError`` where the artifact has no file
    for what is asked.
    """
    found = [way for way in all_ways(artifact) if engine in (None, way.engine) and precision in (None, way.precision)]
    if engine is not None and (missing := why_not(engine)):
        raise ConfigurationError("engine", missing)
    here = [way for way in found if precision is not None or artifact.trusted(way.precision)]
    here = [way for way in here if not why_not_here(way)]
    if here:
        return here
    raise ArtifactError(_none_found(artifact, engine, precision, found))


def all_ways(artifact: Artifact) -> list[Way]:
    """Every way that the artifact's files allow, whatever this machine can do, the likely fastest first."""
    return [
        Way(engine, precision, entry)
        for engine, (kind, precisions) in _RUNS.items()
        for of_file, computed in precisions.items()
        for precision in computed
        for entry in artifact.files
        if entry.engine == kind and entry.precision == of_file
    ]


def why_not(engine: EngineName) -> str:
    """Why the engine cannot run on this machine, as a sentence that says what to do; empty if it can."""
    package, extra = _NEEDS[engine]
    if find_spec(package) is None:
        return f"{engine} needs the package {package}, which is not installed: pip install 'streetmask[{extra}]'"
    if engine in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        from serve.engines.onnx_cuda_engine import why_no_gpu  # noqa: PLC0415 - a client's installation has no engine

        return why_no_gpu(engine)
    if engine in ("tensorrt", "tensorrt-rtx"):
        from serve.engines.tensorrt_engine import why_no_tensorrt  # noqa: PLC0415

        return why_no_tensorrt(engine)
    return ""


def why_not_here(way: Way) -> str:
    """Why the way cannot be gone on this machine, as a sentence; empty if it can."""
    if reason := why_not(way.engine):
        return reason
    if reason := _untaken(way.engine, way.precision):
        return reason
    return "" if _computes(way) else "this processor has no bfloat16: without it, that is slower than float32"


def open_engine(folder: Path, artifact: Artifact, way: Way, threads: int) -> Engine:
    """Load one of the artifact's files on an engine, on so many threads of the CPU."""
    path = folder / way.file.path
    if way.engine == "openvino":
        from serve.engines.openvino_engine import OpenVinoEngine  # noqa: PLC0415 - each engine has its own package

        return OpenVinoEngine(path, artifact.tensors, threads, way.precision)
    if way.engine in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        from serve.engines.onnx_cuda_engine import OnnxCudaEngine  # noqa: PLC0415

        return OnnxCudaEngine(path, artifact.tensors, way.engine)
    if way.engine in ("tensorrt", "tensorrt-rtx"):
        from serve.engines.tensorrt_engine import TensorRtEngine  # noqa: PLC0415

        return TensorRtEngine(path, artifact.tensors, way.engine, way.file.built_for)
    from serve.engines.onnx_engine import OnnxEngine  # noqa: PLC0415

    return OnnxEngine(path, artifact.tensors, threads)


def _computed(engine: EngineName) -> list[Precision]:
    """What the engine can be asked to compute in."""
    _, precisions = _RUNS[engine]
    return [computed for group in precisions.values() for computed in group]


def _computes(way: Way) -> bool:
    """Whether the processor has what the way computes in: bfloat16 without it is slower than float32."""
    if way.engine != "openvino" or way.precision != "bfloat16":
        return True
    from serve.engines.openvino_engine import has_bfloat16  # noqa: PLC0415

    return has_bfloat16()


def _none_found(artifact: Artifact, engine: EngineName | None, precision: Precision | None, found: list[Way]) -> str:
    asked = " ".join(filter(None, (engine or "any engine", precision and f"in {precision}")))
    files = ", ".join(f"{entry.engine} {entry.precision}" for entry in artifact.files)
    start = f"{artifact.name} version {artifact.version} cannot run here on {asked}; its files are {files}"
    reasons = "; ".join(dict.fromkeys(filter(None, (_untaken(engine, precision), *map(why_not_here, found)))))
    return f"{start}; {reasons or f'export the checkpoint again{_export_option(engine, precision)}'}"


def _untaken(engine: EngineName | None, precision: Precision | None) -> str:
    """Why no file helps: a sentence where the engine computes in other precisions alone."""
    if engine is None or precision is None or precision in (computed := _computed(engine)):
        return ""
    return f"{engine} computes in {' or '.join(computed)} alone: choose one of them, or another engine"


def _export_option(engine: EngineName | None, precision: Precision | None) -> str:
    """What export must be told to write a file for it, behind a blank; empty for a float32 graph."""
    if engine in ("tensorrt", "tensorrt-rtx"):
        return f" with --plan {engine}" + (":int8" if precision == "int8" else "")
    if engine == "onnxruntime-tensorrt":
        return " with --float16"
    return f" with --{precision}" if precision in ("int8", "float16") else ""
