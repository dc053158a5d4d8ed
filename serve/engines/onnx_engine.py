"""ONNX files on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from scene.artifact import OUTPUTS, SCORE_THRESHOLD, TensorSpec
from scene.errors import ArtifactError
from serve.engines import Outputs

_DTYPES = {"tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(float)": "float32"}
_ERRORS_ONLY = 3


class OnnxEngine:
    """One ONNX graph of the contract, checked on loading; raises ``ArtifactError`` for any other.

    ``threads`` compute one operator together. They sleep between runs: spinning threads cost their neighbours, such as
    the decoding of the next frame, more than they gain.
    """

    def __init__(self, path: Path, tensors: dict[str, TensorSpec], threads: int) -> None:
        self._session = _open_session(path, threads)
        _check_contract(self._session, tensors, path)
        optional = {node.name for node in self._session.get_overridable_initializers()}
        self._takes_threshold = SCORE_THRESHOLD in optional

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size.

        Rows that score ``score_threshold`` or less are left out, if the graph has that input.
        """
        inputs: dict[str, NDArray[Any]] = {"image": images}
        if self._takes_threshold:
            inputs[SCORE_THRESHOLD] = np.array(score_threshold, np.float32)
        return Outputs(*self._session.run(list(OUTPUTS), inputs))


def _open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own exceptions share no nearer root
        raise ArtifactError(f"{path} cannot be loaded: {_first_line(error)}; export the checkpoint again") from error


def _check_contract(session: onnxruntime.InferenceSession, tensors: dict[str, TensorSpec], path: Path) -> None:
    """Hold the graph's own inputs and outputs against the manifest: names, dtypes and every fixed side."""
    nodes = {node.name: node for node in (*session.get_inputs(), *session.get_outputs())}
    for name, spec in tensors.items():
        node = nodes.get(name)
        if node is None:
            raise ArtifactError(f"{path} has no tensor {name}, which the graph contract asks for")
        if _DTYPES.get(node.type) != spec.dtype or not _shape_fits(node.shape, spec.shape):
            raise ArtifactError(
                f"{path}: the tensor {name} should be {spec.dtype} {spec.shape}, but is {node.type} {node.shape}"
            )


def _shape_fits(shape: list[int | str | None], expected: list[int | str]) -> bool:
    """Whether the ranks agree and every side that both know; a side that the graph leaves open fits."""
    if len(shape) != len(expected):
        return False
    known = [(side, wanted) for side, wanted in zip(shape, expected, strict=True) if isinstance(side, int)]
    return all(side == wanted for side, wanted in known)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
