"""The first NVIDIA GPU of this machine: what it is, memory on both its sides, a stream and recorded work.

Calls go through NVIDIA's own bindings of the CUDA runtime, which are loaded when a GPU is first asked for.
"""

import ctypes
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scene.errors import ArtifactError, ConfigurationError

_NO_BINDINGS = "needs the package cuda-bindings, which is not installed: pip install 'cuda-bindings>=12.9'"


class Gpu(NamedTuple):
    """A GPU by its name and its compute capability, such as 8.9."""

    name: str
    compute_capability: str


def find_gpu() -> Gpu:
    """The GPU that CUDA calls the first. ``ConfigurationError`` where there is none, or no driver that reaches it."""
    runtime = load_runtime()
    status, count = runtime.cudaGetDeviceCount()
    if int(status) or not count:
        said = _said(runtime, status) if int(status) else "the driver counts none"
        raise ConfigurationError(
            "engine", f"expected an NVIDIA GPU with its driver, found none ({said}); choose another engine"
        )
    properties = checked(runtime, runtime.cudaGetDeviceProperties, 0)
    name = properties.name.decode(errors="replace").rstrip("\0")
    return Gpu(name, f"{properties.major}.{properties.minor}")


def why_no_gpu(engine: str) -> str:
    """Why the engine finds no GPU on this machine, as a sentence; empty if there is one."""
    try:
        find_gpu()
    except ConfigurationError as error:
        return f"{engine}: {str(error).removeprefix(f'{error.field}: ')}"
    except ArtifactError as error:
        return f"{engine}: {error}"
    return ""


def cache_folder() -> Path:
    """Where what a GPU's libraries compile is kept from one start to the next, for this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streetmask"


def load_runtime() -> Any:
    """NVIDIA's bindings of the CUDA runtime; ``ConfigurationError`` where they are not installed."""
    try:
        from cuda.bindings import runtime  # noqa: PLC0415 - only machines with a GPU have it
    except ImportError as error:
        raise ConfigurationError("engine", f"an NVIDIA GPU {_NO_BINDINGS}") from error
    return runtime


def checked(runtime: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call of the runtime answers behind its status; ``ArtifactError`` for a status that is no success."""
    status, *answer = call(*arguments)
    if int(status):
        raise ArtifactError(
            f"the GPU failed at {call.__name__}: {_said(runtime, status)}; free its memory or choose another engine"
        )
    return answer[0] if answer else None


class PinnedArray(NamedTuple):
    """Memory of the host that the GPU reads and writes itself, as bytes, and its address."""

    address: int
    values: NDArray[np.uint8]


class Device:
    """Memory, one stream and recorded work on the first GPU; all of it is given back with the object.

    Raises ``ArtifactError`` for whatever the GPU refuses.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._held: list[tuple[Callable[..., Any], Any]] = []
        weakref.finalize(self, _give_back, self._held)
        self.stream = self._hold(
            runtime.cudaStreamDestroy, self._call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        )

    def memory(self, size: int) -> int:
        """The address of so many bytes on the GPU."""
        return int(self._hold(self._runtime.cudaFree, self._call(self._runtime.cudaMalloc, size)))

    def pinned(self, size: int) -> PinnedArray:
        """So many bytes of the host that do not move, so that they are copied without a stop on the way."""
        address = int(self._hold(self._runtime.cudaFreeHost, self._call(self._runtime.cudaMallocHost, size)))
        return PinnedArray(address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)))

    def upload(self, target: int, source: int, size: int) -> None:
        """Queue a copy of so many bytes from pinned memory to the GPU."""
        self._copy(target, source, size, self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def download(self, target: int, source: int, size: int) -> None:
        """Queue a copy of so many bytes from the GPU to pinned memory."""
        self._copy(target, source, size, self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def record(self, work: Callable[[], None]) -> Any:
        """Record what ``work`` queues instead of doing it: a CUDA graph, which one call then does as a whole."""
        runtime = self._runtime
        self._call(
            runtime.cudaStreamBeginCapture, self.stream, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )
        try:
            work()
        finally:
            graph = self._call(runtime.cudaStreamEndCapture, self.stream)
        recorded = self._call(runtime.cudaGraphInstantiate, graph, 0)
        self._call(runtime.cudaGraphDestroy, graph)
        return self._hold(runtime.cudaGraphExecDestroy, recorded)

    def replay(self, recorded: Any) -> None:
        """Queue recorded work."""
        self._call(self._runtime.cudaGraphLaunch, recorded, self.stream)

    def wait(self) -> None:
        """Until all that was queued is done."""
        self._call(self._runtime.cudaStreamSynchronize, self.stream)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        self._call(self._runtime.cudaMemcpyAsync, target, source, size, kind, self.stream)

    def _call(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return checked(self._runtime, call, *arguments)

    def _hold(self, free: Callable[..., Any], handle: Any) -> Any:
        self._held.append((free, handle))
        return handle


def _give_back(held: list[tuple[Callable[..., Any], Any]]) -> None:
    """The last that was taken first: recorded work before the memory it names, that before the stream."""
    for free, handle in reversed(held):
        free(handle)


def _said(runtime: Any, status: Any) -> str:
    _, text = runtime.cudaGetErrorString(status)
    return str(text.decode(errors="replace"))
