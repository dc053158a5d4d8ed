"""OpenVINO on the CPU: the same ONNX files, in float32, bfloat16 or eight bits."""

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scene.artifact import OUTPUTS, SCORE_THRESHOLD, Precision, TensorSpec
from scene.errors import ArtifactError
from serve.engines import Outputs
from serve.engines.contract import check_contract, first_line

# OpenVINO starts a process that reports to its makers what it is used for. Without this package it reports to nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # how Python is told that there is none
ov, opset13, frontend = (import_module(name) for name in ("openvino", "openvino.opset13", "openvino.frontend.onnx"))

_TYPES = {"u8": "uint8", "i32": "int32", "f32": "float32"}


class OpenVinoEngine:
    """One ONNX graph of the contract, checked on loading; raises ``ArtifactError`` for any other.

    What is not quantised in an int8 file is computed in bfloat16 where the processor has it. A batch of one has a
    network of its own, whose shapes are fixed, which is faster; all others share one.
    """

    def __init__(self, path: Path, tensors: dict[str, TensorSpec], threads: int, precision: Precision) -> None:
        self._model = _read(path)
        self._takes_threshold = _open_threshold(self._model)
        ports = (*self._model.inputs, *self._model.outputs)
        check_contract({name: _described(port) for port in ports for name in port.get_names()}, tensors, path)
        self._path = path
        self._config = _config(threads, precision)
        self._requests: dict[bool, Any] = {}
        self._request(batch=1)

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size.

        Rows that score ``score_threshold`` or less are left out, if the graph has that input.
        """
        inputs: dict[str, NDArray[Any]] = {"image": images}
        if self._takes_threshold:
            inputs[SCORE_THRESHOLD] = np.array(score_threshold, np.float32)
        answer = self._request(len(images)).infer(inputs)
        return _copied(Outputs(*(answer[name] for name in OUTPUTS)))

    def _request(self, batch: int) -> Any:
        """The request for batches of one, or for any, compiled when it is first asked for."""
        single = batch == 1
        if single not in self._requests:
            model = self._model.clone()
            if single:
                model.reshape({"image": [1, *_described(model.input("image"))[1][1:]]})
            try:
                self._requests[single] = _core().compile_model(model, "CPU", self._config).create_infer_request()
            except RuntimeError as error:
                raise ArtifactError(f"{self._path} cannot be loaded: {first_line(error)}") from error
        return self._requests[single]


def _copied(outputs: Outputs) -> Outputs:
    """The answer in memory of its own, as the request writes its own anew each time: the rows that hold something; the
    zeros behind them are pages that nobody touches."""
    fields: tuple[NDArray[Any], ...] = outputs[1:]
    rows = int(outputs.num.max(initial=0))
    kept: list[Any] = [np.zeros(field.shape, field.dtype) for field in fields]
    for ours, theirs in zip(kept, fields, strict=True):
        ours[:, :rows] = theirs[:, :rows]
    return Outputs(outputs.num.copy(), *kept)


@cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 as fast as it should."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
    core = ov.Core()
    core.add_extension(frontend.ConversionExtension("DeformConv", "", _deformable))
    return core


def _deformable(node: Any) -> list[Any]:
    """ONNX's ``DeformConv`` as OpenVINO's own operator, which samples zero off the map and knows no bias."""
    image, weight, offsets, bias, modulation = (node.get_input(index) for index in range(5))
    pads = list(node.get_attribute("pads"))
    answer = opset13.deformable_convolution(
        image,
        offsets,
        weight,
        list(node.get_attribute("strides")),
        pads[:2],
        pads[2:],
        list(node.get_attribute("dilations")),
        modulation,
        bilinear_interpolation_pad=True,
    )
    return [opset13.add(answer, opset13.unsqueeze(bias, opset13.constant(np.array([0, 2, 3])))).output(0)]


def _read(path: Path) -> Any:
    try:
        return _core().read_model(path)
    except RuntimeError as error:
        raise ArtifactError(f"{path} cannot be loaded: {first_line(error)}; export the checkpoint again") from error


def _described(port: Any) -> tuple[str, list[int | None]]:
    """A tensor's dtype by numpy's name and its shape, None for open sides."""
    sides = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
    return _TYPES.get(port.get_element_type().get_type_name(), ""), sides


def _open_threshold(model: Any) -> bool:
    """Make an input of the threshold, whose default makes it a constant to OpenVINO; whether there is one."""
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_friendly_name() == SCORE_THRESHOLD:
            threshold = opset13.parameter([], np.float32, name=SCORE_THRESHOLD)
            threshold.output(0).set_names({SCORE_THRESHOLD})
            node.output(0).replace(threshold.output(0))
            model.add_parameters([threshold])
            model.validate_nodes_and_infer_types()
            return True
    return False


def _config(threads: int, precision: Precision) -> dict[str, Any]:
    """Pinned threads would hold the cores that the next frame is decoded on."""
    reduced = precision == "bfloat16" or (precision == "int8" and has_bfloat16())
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
