"""ONNX files on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from scene.artifact import OUTPUTS, SCORE_THRESHOLD, TensorSpec
from scene.errors import ArtifactError
from serve.engines import Outputs
from serve.engines.contract import check_contract, first_line

_DTYPES = {"tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(float)": "float32"}
_ERRORS_ONLY = 3


class OnnxEngine:
    """One ONNX graph of the contract, checked on loading; raises ``ArtifactError`` for any other.

    ``threads`` compute one operator together. They sleep between runs: spinning threads cost their neighbours, such as
    the decoding of the next frame, more than they gain.
    """

    def __init__(self, path: Path, tensors: dict[str, TensorSpec], threads: int) -> None:
        self._session = _open_session(path, threads)
        nodes = (*self._session.get_inputs(), *self._session.get_outputs())
        check_contract({node.name: (_DTYPES.get(node.type, ""), node.shape) for node in nodes}, tensors, path)
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
        raise ArtifactError(f"{path} cannot be loaded: {first_line(error)}; export the checkpoint again") from error
