"""``config.pbtxt``: what Triton must know of a model, in protobuf's text format."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from export.triton_release import TritonRelease
from scene.artifact import OUTPUTS, Artifact, ModelFile
from scene.errors import require

Backend = Literal["onnxruntime", "tensorrt"]
FilePrecision = Literal["float32", "float16", "int8"]

MODEL_FILES: dict[Backend, str] = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
"""What each backend looks for in the folder of a version."""

_PLATFORMS: dict[Backend, str] = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
_DATA_TYPES = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "float32": "TYPE_FP32"}


@dataclass(frozen=True)
class TritonOptions:
    """How a model is to run in Triton."""

    triton_version: str
    """Release of Triton, such as 26.08; it decides which operators the graph may have."""
    backend: Backend = "onnxruntime"
    """Backend that runs it: the ONNX file, or a plan that was built by the very TensorRT of that release."""
    device: Literal["gpu", "cpu"] = "gpu"
    """Where its instances run."""
    precision: FilePrecision = "float32"
    """File of the model folder that is taken."""
    instances: int = 1
    """Instances; per GPU, if on GPUs."""
    max_batch_size: int = 8
    """Most frames that go through the network together."""
    preferred_batch_sizes: tuple[int, ...] = ()
    """Sizes at which a batch need not wait for more frames; half the largest and the largest, if not named."""
    queue_delay_us: int = 1000
    """Longest that a frame waits for others, in microseconds."""
    score_threshold: float = 0.0
    """Rows that score no more are zero in every answer; no masks are made of them. For the float32 and int8 graphs."""

    def __post_init__(self) -> None:
        """Raise ``ConfigurationError`` for a value that Triton or the graph would refuse."""
        require("instances", self.instances >= 1, "at least one", self.instances)
        require("max_batch_size", 1 <= self.max_batch_size <= 64, "1 to 64, which the graph takes", self.max_batch_size)
        sizes = self.preferred_batch_sizes
        require(
            "preferred_batch_sizes",
            all(1 <= size <= self.max_batch_size for size in sizes),
            f"sizes from 1 to the largest batch, {self.max_batch_size}",
            sizes,
        )
        require("queue_delay_us", self.queue_delay_us >= 0, "no less than 0", self.queue_delay_us)
        require("score_threshold", 0 <= self.score_threshold < 1, "0 to below 1", self.score_threshold)
        require(
            "device", self.backend != "tensorrt" or self.device == "gpu", "gpu, for the backend tensorrt", self.device
        )

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The preferred sizes, rising."""
        chosen = self.preferred_batch_sizes or (self.max_batch_size // 2, self.max_batch_size)
        return tuple(sorted(size for size in set(chosen) if size))


def config_text(
    artifact: Artifact, entry: ModelFile, options: TritonOptions, release: TritonRelease, lowering: str
) -> str:
    """The configuration under which Triton serves the artifact's version, and no other that lies beside it: shapes and
    file are that version's.

    ``entry`` is the file that is served, ``lowering`` the operator in it. ``score_threshold`` is no input: the backend
    takes an input without a batch, or one that may be left out, of no model that batches. Nor is there a file of
    labels: Triton's would name an output's elements by their position, and ours are rows; the class names are a
    parameter, which clients can ask for.
    """
    return "\n".join(
        [
            *_comments(entry, options, release),
            f"name: {_quoted(artifact.name)}",
            f'platform: "{_PLATFORMS[options.backend]}"',
            f'backend: "{options.backend}"',
            f'default_model_filename: "{MODEL_FILES[options.backend]}"',
            f"version_policy {{ specific {{ versions: [ {artifact.version} ] }} }}",
            f"max_batch_size: {options.max_batch_size}",
            f"input [\n{_tensor(artifact, 'image')}\n]",
            "output [\n" + ",\n".join(_tensor(artifact, name) for name in OUTPUTS) + "\n]",
            f"instance_group [ {{ count: {options.instances} kind: KIND_{options.device.upper()} }} ]",
            _batching(options),
            _warm_up(artifact, sorted({1, *options.batch_sizes, options.max_batch_size})),
            *(_parameter(key, value) for key, value in _for_clients(artifact, entry, options, lowering).items()),
            "",
        ]
    )


def _comments(entry: ModelFile, options: TritonOptions, release: TritonRelease) -> list[str]:
    inside = {"onnxruntime": f"ONNX Runtime {release.onnxruntime}", "tensorrt": f"TensorRT {release.tensorrt_major}"}
    lines = [
        f"Written by StreetMask {version('streetmask')} for Triton {release.version} with {inside[options.backend]}.",
        f"Untested: no Triton {release.version} has loaded it.",
    ]
    if release.remark:
        lines.append(f"Of Triton {release.version}, {release.remark}.")
    if entry.built_for:
        lines.append(f"The plan runs where it was built for alone: {json.dumps(entry.built_for)}.")
    return [f"# {line}" for line in lines]


def _tensor(artifact: Artifact, name: str) -> str:
    """An input or output without its batch dimension. One number a frame is an element to Triton, which knows no tensor
    without dimensions, and none to the graph."""
    spec = artifact.tensors[name]
    dims = spec.shape[1:]
    shape = f"dims: {_listed(dims)}" if dims else "dims: [ 1 ] reshape { shape: [ ] }"
    return f'  {{ name: "{name}" data_type: {_DATA_TYPES[spec.dtype]} {shape} }}'


def _batching(options: TritonOptions) -> str:
    return (
        f"dynamic_batching {{ preferred_batch_size: {_listed(options.batch_sizes)} "
        f"max_queue_delay_microseconds: {options.queue_delay_us} }}"
    )


def _warm_up(artifact: Artifact, sizes: Sequence[int]) -> str:
    """A batch of noise in each size: on black frames a network may find nothing, and then would make no mask."""
    spec = artifact.tensors["image"]
    value = f"data_type: {_DATA_TYPES[spec.dtype]} dims: {_listed(spec.shape[1:])} random_data: true"
    image = f'inputs {{ key: "image" value {{ {value} }} }}'
    batches = [f'  {{ name: "batch of {size}" batch_size: {size} count: 1 {image} }}' for size in sizes]
    return "model_warmup [\n" + ",\n".join(batches) + "\n]"


def _for_clients(artifact: Artifact, entry: ModelFile, options: TritonOptions, lowering: str) -> dict[str, str]:
    """What a client needs to prepare a frame and to read the answer; lists are JSON."""
    return {
        "class_names": json.dumps(artifact.class_names, ensure_ascii=False),
        "thresholds": json.dumps(artifact.thresholds),
        "size_hw": json.dumps(artifact.size_hw),
        "mask_size_hw": json.dumps(artifact.mask_size_hw),
        "color_order": artifact.color_order,
        "score_threshold": str(options.score_threshold),
        "precision": entry.precision,
        "lowering": lowering or "none",
        "source_checkpoint_sha256": artifact.source_checkpoint_sha256,
    }


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: {_quoted(value)} }} }}'


def _listed(values: Sequence[object]) -> str:
    return f"[ {', '.join(str(value) for value in values)} ]"


def _quoted(text: str) -> str:
    """JSON's escapes are among protobuf's."""
    return json.dumps(text, ensure_ascii=False)
