"""What of Triton's two modules this clone's code uses, where Triton is not installed."""

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.triton_server import ANSWER


class InferenceServerError(Exception):
    """As Triton's client raises it."""


class Tensor:
    """A named array, within Triton and in its client."""

    def __init__(self, name: str, array: Any = None, kind: str = "") -> None:
        self.name, self.array = name, array

    def as_numpy(self, name: str = "") -> Any:
        return self.array

    def set_data_from_numpy(self, array: NDArray[np.uint8]) -> "Tensor":
        self.array = array
        return self


def backend_module() -> ModuleType:
    """``triton_python_backend_utils``."""
    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor, module.TritonError = Tensor, str
    module.InferenceResponse = lambda output_tensors=(), error=None: (list(output_tensors), error)
    module.get_input_tensor_by_name = lambda request, name: next(each for each in request if each.name == name)
    return module  # type: ignore[no-any-return]


def client_module(answer: Callable[[bytes], bytes], busy: list[int]) -> ModuleType:
    """``tritonclient.grpc``, whose server answers on threads; ``busy`` notes how many requests are out at a time."""
    out, lock = [0], threading.Lock()

    class InferenceServerClient:
        def __init__(self, address: str, channel_args: Any = None) -> None:
            pass

        def infer(self, model: str, inputs: list[Tensor], client_timeout: float) -> Tensor:
            return Tensor(ANSWER, np.frombuffer(answer(inputs[0].array.tobytes()), np.uint8))

        def async_infer(
            self, model: str, inputs: list[Tensor], callback: Callable[..., None], client_timeout: float
        ) -> None:
            with lock:
                out[0] += 1
                busy.append(out[0])
            threading.Thread(target=self._call, args=(model, inputs, callback)).start()

        def close(self) -> None:
            pass

        def _call(self, model: str, inputs: list[Tensor], callback: Callable[..., None]) -> None:
            result, error = None, None
            try:
                result = self.infer(model, inputs, 1.0)
            except InferenceServerError as raised:
                error = raised
            with lock:
                out[0] -= 1
            callback(result=result, error=error)

    module: Any = ModuleType("tritonclient.grpc")
    module.InferenceServerClient, module.InferInput = InferenceServerClient, Tensor
    module.InferenceServerException = InferenceServerError
    return module  # type: ignore[no-any-return]
