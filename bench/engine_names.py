"""What an engine's name stands for: what runs the network, and behind a hyphen what it computes in, float32 without."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from scene.artifact import Artifact, ModelFile, Precision
from scene.errors import ArtifactError, require
from serve.engines import EngineName, Way, all_ways, why_not_here

TorchName = Literal["torch", "torch-plain", "torch-compile"]
"""``torch`` is the deployed module, ``torch-compile`` the same compiled; ``torch-plain`` is what they gain upon: the
network as it was trained, BatchNorm and all, on contiguous maps."""

_TORCH = get_args(TorchName)
_NAMES = (*get_args(EngineName), *_TORCH)
_ON_GPUS = ("onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx")


class Form(NamedTuple):
    """What a graph must be written as for an engine: the kind of file, its precision, and whether no shape in it may
    depend on a value, as GPUs need it; the operator of its deformable convolutions. A plan is for batches of one size,
    and for this machine's GPU or a compute capability, such as 8.9."""

    kind: str
    precision: Precision
    fixed_rows: bool = False
    lowering: str = "DeformConv"
    batch: int = 0
    compute_capability: str = ""


@dataclass(frozen=True)
class NamedEngine:
    """An engine by its name here, such as ``openvino-int8``, ``torch-bfloat16`` or ``onnxruntime``."""

    runtime: EngineName | TorchName
    precision: Precision

    @property
    def is_torch(self) -> bool:
        """Whether torch runs it; else it runs a graph."""
        return self.runtime in _TORCH

    def form(self, batch: int) -> Form:
        """The file that it runs batches of that size from; bfloat16 is what an engine makes of a float32 one."""
        precision: Precision = "float32" if self.precision == "bfloat16" else self.precision
        if self.runtime.startswith("tensorrt"):
            return Form(self.runtime, precision, fixed_rows=True, batch=batch)
        return Form("onnx", precision, self.runtime in _ON_GPUS)

    def way(self, artifact: Artifact) -> Way:
        """How it runs the artifact, verified or not; raises ``ArtifactError`` where no file is for it."""
        for way in all_ways(artifact):
            if (way.engine, way.precision) == (self.runtime, self.precision):
                return way
        files = ", ".join(f"{entry.engine} {entry.precision}" for entry in artifact.files)
        raise ArtifactError(f"no file for {self.runtime} in {self.precision}; there are {files}")

    def why_not(self, device: str) -> str:
        """Why it cannot be measured on this machine, torch on that device, as a sentence; empty if it can."""
        if self.is_torch:
            halved = self.precision == "float16" and device == "cpu"
            return f"{self.runtime} in float16 is for GPUs, where --device cuda puts it" if halved else ""
        form = self.form(batch=1)
        way = Way(self.runtime, self.precision, ModelFile("", form.kind, form.precision, ""))  # type: ignore[arg-type]  # none of torch's
        return why_not_here(way)


def named_engine(name: str) -> NamedEngine:
    """The engine of that name; raises ``ConfigurationError`` for any other."""
    found = next((each for each in get_args(Precision) if name.endswith(f"-{each}")), None)
    precision: Precision = found or "float32"
    runtime = name.removesuffix(f"-{precision}") if found else name
    wanted = f"{', '.join(_NAMES)}, each with {', '.join(f'-{each}' for each in get_args(Precision))} or nothing behind"
    require("engines", runtime in _NAMES, wanted, name)
    kept = runtime != "torch-plain" or precision == "float32"
    require("engines", kept and not (runtime in _TORCH and precision == "int8"), "one that torch has", name)
    return NamedEngine(runtime, precision)  # type: ignore[arg-type]  # just looked up
