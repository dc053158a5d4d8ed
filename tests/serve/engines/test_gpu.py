"""The GPU's edge: what is there, and what is told when it is not."""

import gc
from pathlib import Path

import numpy as np
import pytest

from scene.errors import ArtifactError, ConfigurationError
from serve.engines.gpu import Device, Gpu, cache_folder, find_gpu, load_runtime, why_no_gpu
from tests.serve.engines.host_as_gpu import HostRuntime, install


def test_without_the_bindings_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None, None)
    with pytest.raises(ConfigurationError, match="an NVIDIA GPU needs the package cuda-bindings, which is not"):
        load_runtime()
    assert why_no_gpu("tensorrt").startswith("tensorrt: an NVIDIA GPU needs")


def test_the_first_gpu_is_found_by_name_and_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = HostRuntime("12.0")
    install(monkeypatch, runtime, None)
    assert find_gpu() == Gpu("Host as GPU", "12.0")
    assert why_no_gpu("tensorrt") == ""
    runtime.devices = (0, 0)
    with pytest.raises(ConfigurationError, match=r"found none \(the driver counts none\); choose another engine"):
        find_gpu()


def test_compiled_kernels_are_kept_where_the_user_s_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/streetmask")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "streetmask"


def test_recorded_work_is_done_when_it_is_replayed_and_not_before() -> None:
    runtime = HostRuntime()
    device = Device(runtime)
    memory, pinned = device.memory(4), device.pinned(4)
    pinned.values[:] = 7
    device.upload(memory, pinned.address, 4)
    recorded = device.record(lambda: device.download(pinned.address, memory, 4))
    pinned.values[:] = 0
    device.wait()
    assert pinned.values.tolist() == [0, 0, 0, 0]
    device.replay(recorded)
    device.wait()
    assert pinned.values.tolist() == [7, 7, 7, 7]
    assert pinned.values.dtype == np.uint8


def test_what_was_taken_is_given_back_even_after_a_failure() -> None:
    runtime = HostRuntime()
    device = Device(runtime)
    device.memory(8)
    runtime.failing = "cudaMallocHost"
    with pytest.raises(ArtifactError, match="the GPU failed at cudaMallocHost: out of memory; free its memory"):
        device.pinned(8)
    del device
    gc.collect()
    assert not runtime.held


@pytest.mark.gpu
def test_a_gpu_copies_there_and_back() -> None:
    """Only a GPU has memory of its own, and only its driver records a graph."""
    assert find_gpu().compute_capability
    device = Device(load_runtime())
    memory, pinned = device.memory(4), device.pinned(4)
    pinned.values[:] = 7
    device.upload(memory, pinned.address, 4)
    device.wait()
    recorded = device.record(lambda: device.download(pinned.address, memory, 4))
    pinned.values[:] = 0
    device.replay(recorded)
    device.wait()
    assert pinned.values.tolist() == [7, 7, 7, 7]
