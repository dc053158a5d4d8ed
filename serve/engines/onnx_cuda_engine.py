"""ONNX files on an NVIDIA GPU, by ONNX Runtime's CUDA provider or by its TensorRT provider."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from scene.artifact import OUTPUTS, SCORE_THRESHOLD, TensorSpec
from scene.errors import ArtifactError
from serve.engines import EngineName, Outputs, gpu
from serve.engines.contract import check_contract, first_line

LOG = logging.getLogger(__name__)

_DTYPES = {"tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(float)": "float32"}
_ERRORS_ONLY = 3
_IMAGE = "image"


class Target(NamedTuple):
    """Where a graph runs: ONNX Runtime's device and provider with its options, the providers of what that one leaves,
    and the options with which it records a CUDA graph; empty if it shall not."""

    device: str
    provider: str
    options: Mapping[str, str]
    others: tuple[str, ...]
    recording: Mapping[str, str]


def target_of(engine: EngineName) -> Target:
    """What ``onnxruntime-cuda`` and ``onnxruntime-tensorrt`` mean."""
    if engine == "onnxruntime-tensorrt":
        return Target("cuda", "TensorrtExecutionProvider", _tensorrt_options(), ("CUDAExecutionProvider",), {})
    # float32 stays float32: convolutions would else round what they read to ten bits.
    return Target("cuda", "CUDAExecutionProvider", {"use_tf32": "0"}, (), {"enable_cuda_graph": "1"})


def why_no_gpu(engine: EngineName) -> str:
    """Why the engine cannot run on this machine, as a sentence that says what to do; empty if it can."""
    provider, built_in = target_of(engine).provider, onnxruntime.get_available_providers()
    if provider not in built_in:
        return (
            f"{engine} needs an onnxruntime with {provider}, but the installed one has {', '.join(built_in)}: "
            "pip uninstall onnxruntime, then pip install --force-reinstall 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return gpu.why_no_gpu(engine)


class OnnxCudaEngine:
    """One ONNX graph of the contract on a GPU; raises ``ArtifactError`` for any other, or if it would run on the CPU.

    A graph without a threshold, in which no shape depends on a value, is recorded for each batch size when that first
    comes, and then replayed as one CUDA graph from memory that stays where it is. ``recorded`` says whether this is so.
    """

    def __init__(
        self, path: Path, tensors: dict[str, TensorSpec], engine: EngineName, target: Target | None = None
    ) -> None:
        self._target = target or target_of(engine)
        self._tensors = tensors
        self._session = _open_session(path, self._target, {})
        nodes = (*self._session.get_inputs(), *self._session.get_outputs())
        check_contract({node.name: (_DTYPES.get(node.type, ""), node.shape) for node in nodes}, tensors, path)
        optional = {node.name for node in self._session.get_overridable_initializers()}
        self._takes_threshold = SCORE_THRESHOLD in optional
        self.recorded = bool(self._target.recording) and not self._takes_threshold and self._reopen_recording(path)
        self._bindings: dict[int, _Bound] = {}

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size.

        Rows that score ``score_threshold`` or less are left out, if the graph has that input.
        """
        if self._takes_threshold:
            return self._run_once(images, score_threshold)
        batch = len(images)
        if batch not in self._bindings:
            self._bindings[batch] = _bound(self._session, self._tensors, batch, self._target.device)
        bound = self._bindings[batch]
        bound.image.update_inplace(images)
        self._session.run_with_iobinding(bound.binding, bound.options)
        bound.binding.synchronize_outputs()
        return Outputs(*(_on_host(bound.outputs[name]) for name in OUTPUTS))

    def _run_once(self, images: NDArray[np.uint8], score_threshold: float) -> Outputs:
        """With memory of its own for the call: what is in between has other sizes each time."""
        binding = self._session.io_binding()
        inputs = {_IMAGE: np.ascontiguousarray(images), SCORE_THRESHOLD: np.array(score_threshold, np.float32)}
        for name, array in inputs.items():  # as arrays it would not bind an input that has a default
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        for name in OUTPUTS:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return Outputs(*binding.copy_outputs_to_cpu())

    def _reopen_recording(self, path: Path) -> bool:
        """Load the graph again to be recorded, which ONNX Runtime refuses if the CPU computes a part of it."""
        try:
            self._session = _open_session(path, self._target, self._target.recording)
        except ArtifactError as error:
            LOG.warning("no CUDA graph is made of it, which costs time: %s", error)
            return False
        return True


class _Bound(NamedTuple):
    """A batch size's tensors, which stay where they are, and the number of its recording."""

    binding: Any
    image: Any
    outputs: dict[str, Any]
    options: Any


def _bound(session: Any, tensors: Mapping[str, TensorSpec], batch: int, device: str) -> _Bound:
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            [batch if isinstance(side, str) else side for side in tensors[name].shape],
            np.dtype(tensors[name].dtype).type,
            device,
        )
        for name in (_IMAGE, *OUTPUTS)
    }
    image = values.pop(_IMAGE)
    binding = session.io_binding()
    binding.bind_ortvalue_input(_IMAGE, image)
    for name, value in values.items():
        binding.bind_ortvalue_output(name, value)
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(batch))
    return _Bound(binding, image, values, options)


def _on_host(value: Any) -> Any:
    """A tensor's values in memory of their own; those of a tensor on the CPU would be written anew by the next run."""
    return value.numpy().copy() if value.device_name() == "cpu" else value.numpy()


def _open_session(path: Path, target: Target, recording: Mapping[str, str]) -> Any:
    """A session that runs on the target and nowhere else but for arithmetic on shapes.

    ``session.disable_cpu_ep_fallback`` is not set: it refuses every node on the CPU, and ONNX Runtime puts the handful
    that compute shapes there on purpose. A session that records is refused for any other node on the CPU.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    providers = [(target.provider, {**target.options, **recording}), *target.others]
    if target.device == "cuda":
        gpu.cache_folder().mkdir(parents=True, exist_ok=True)
        onnxruntime.preload_dlls()  # CUDA and cuDNN from their own packages, where these are installed
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # the library's own exceptions share no nearer root
        raise ArtifactError(
            f"{path} cannot be loaded by {target.provider}: {first_line(error)}; choose another engine, or export the "
            "checkpoint again"
        ) from error
    first = session.get_providers()[0]
    if first != target.provider:
        raise ArtifactError(
            f"{path} should run on {target.provider}, but ONNX Runtime would run it on {first}: its CUDA libraries are "
            "missing or too old: pip install --force-reinstall 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return session


def _tensorrt_options() -> dict[str, str]:
    """Precision is the file's, but that what it computes in float32 may be rounded to TF32, against which there is no
    option. Plans take minutes to build, and are kept; a larger batch than before builds anew."""
    folder = str(gpu.cache_folder() / "onnxruntime-tensorrt")
    return {
        "trt_fp16_enable": "0",
        "trt_int8_enable": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }
