"""The machine that is measured on, and what it did meanwhile: clock, heat, throttling, and others' work."""

import os
import platform
import subprocess
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import psutil

from serve.settings import usable_cpus

PACKAGES = (
    *("streetmask", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "grpcio"),
    *("tensorrt", "tensorrt-rtx"),
)
_CLOCK_MOVED = 0.05
_HEATED_C = 10.0
_OTHERS_SHARE = 0.1
_ASK_EVERY_S = 0.1


@dataclass(frozen=True)
class State:
    """One reading; None where the machine does not tell. Times are seconds of all CPUs since it started."""

    cpu_mhz: float | None
    cpu_c: float | None
    load: float
    busy_s: float
    stolen_s: float
    total_s: float
    cpu_throttles: int = 0
    gpu_mhz: float | None = None
    gpu_c: float | None = None
    gpu_throttled: str = ""


class GpuBusy:
    """While a block runs, asks NVIDIA's driver ten times a second for the share of time in which a kernel ran.

    ``share`` is the mean, None on a CPU and where the driver does not tell.
    """

    def __init__(self, device: str) -> None:
        self._gpu = int(device.partition(":")[2] or 0) if device.startswith("cuda") else None
        self._percents: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    @property
    def share(self) -> float | None:
        """In [0, 1], of what was asked until now."""
        return fmean(self._percents) / 100 if self._percents else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        if self._gpu is None:
            return
        with suppress(Exception):  # no driver, no library, no permission: all the same here
            import pynvml  # noqa: PLC0415 - only where there is a GPU

            handle = _gpu_handle(self._gpu)
            while not self._ended.wait(_ASK_EVERY_S):
                self._percents.append(int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))


class Watch:
    """Reads the machine while it is measured on, and says what would spoil a comparison.

    ``lap`` is called when the measured work is warm and again right behind it, not when the machine has gone idle.
    CPU time of children is ours as soon as they are joined.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._gpu = int(device.partition(":")[2] or 0)
        self._first = read_state(self._gpu)
        self._own_s = _own_cpu_s()
        self._laps: list[State] = []

    def lap(self) -> None:
        """Read clock and heat now, at work."""
        self._laps.append(read_state(self._gpu))

    def report(self) -> dict[str, Any]:
        """``machine``, ``before``, ``after``, ``meanwhile`` and ``warnings`` for a run's document."""
        last = read_state(self._gpu)
        passed_s = max(last.total_s - self._first.total_s, 1e-9)
        ours_s = _own_cpu_s() - self._own_s
        others = max(0.0, last.busy_s - self._first.busy_s - ours_s) / passed_s
        stolen = max(0.0, last.stolen_s - self._first.stolen_s) / passed_s
        laps = self._laps or [self._first, last]
        return {
            "machine": describe(self._gpu),
            "before": _reading(laps[0]),
            "after": _reading(laps[-1]),
            "meanwhile": {"others_cpu_share": round(others, 4), "stolen_cpu_share": round(stolen, 4)},
            "warnings": warnings(laps[0], laps[-1], others, stolen),
        }


def warnings(before: State, after: State, others: float, stolen: float) -> list[str]:
    """What moved while it was measured, a sentence each."""
    found = []
    for name, first, last in (("CPU", before.cpu_mhz, after.cpu_mhz), ("GPU", before.gpu_mhz, after.gpu_mhz)):
        if first and last and abs(last - first) > _CLOCK_MOVED * first:
            found.append(f"the {name}'s clock moved from {first:.0f} to {last:.0f} MHz")
    for name, first, last in (("CPU", before.cpu_c, after.cpu_c), ("GPU", before.gpu_c, after.gpu_c)):
        if first and last and last - first > _HEATED_C:
            found.append(f"the {name} heated up from {first:.0f} to {last:.0f} degrees")
    throttled = after.gpu_throttled or before.gpu_throttled
    if throttled:
        found.append(f"the GPU was throttled: {throttled}")
    if after.cpu_throttles > before.cpu_throttles:
        found.append(f"the CPU was throttled by its heat {after.cpu_throttles - before.cpu_throttles} times")
    if others > _OTHERS_SHARE:
        found.append(f"other programs took {others:.0%} of the CPUs' time: compare ratios, not milliseconds")
    if stolen > _CLOCK_MOVED:
        found.append(f"the host took {stolen:.0%} of the CPUs' time away: compare ratios, not milliseconds")
    return found


def read_state(gpu: int = 0) -> State:
    """Clock, heat and times, now."""
    times = psutil.cpu_times()
    total_s = float(sum(times)) - float(getattr(times, "guest", 0.0)) - float(getattr(times, "guest_nice", 0.0))
    stolen_s = float(getattr(times, "steal", 0.0))
    idle_s = float(times.idle) + float(getattr(times, "iowait", 0.0))
    return State(
        cpu_mhz=_cpu_mhz(),
        cpu_c=_cpu_celsius(),
        load=round(os.getloadavg()[0], 2),
        busy_s=total_s - idle_s - stolen_s,
        stolen_s=stolen_s,
        total_s=total_s,
        cpu_throttles=_cpu_throttles(),
        **_gpu_state(gpu),
    )


@cache
def describe(gpu: int = 0) -> dict[str, Any]:
    """Hardware, versions and commit."""
    return {
        "cpu": _cpu_name(),
        "cpus": usable_cpus(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        **_gpu_names(gpu),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
    }


def _reading(state: State) -> dict[str, Any]:
    return {key: value for key, value in asdict(state).items() if not key.endswith("_s") and value not in (None, "")}


def _own_cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_mhz() -> float | None:
    with suppress(Exception):  # containers and virtual machines hide it in many ways
        frequency = psutil.cpu_freq()
        return round(frequency.current, 1) if frequency else None
    return None


def _cpu_celsius() -> float | None:
    read = getattr(psutil, "sensors_temperatures", dict)
    readings = [entry.current for entries in read().values() for entry in entries]
    return max(readings) if readings else None


def _cpu_throttles() -> int:
    """How often the cores were slowed down by their heat since the start, where Linux tells."""
    count = 0
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        with suppress(OSError, ValueError):
            count += int(path.read_text())
    return count


def _gpu_handle(index: int) -> Any:
    import pynvml  # noqa: PLC0415 - only where there is a GPU

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def _gpu_state(index: int) -> dict[str, Any]:
    with suppress(Exception):  # no driver, no library, no permission: all the same here
        import pynvml  # noqa: PLC0415 - only where there is a GPU

        handle = _gpu_handle(index)
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        harmless = pynvml.nvmlClocksThrottleReasonGpuIdle | pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting
        return {
            "gpu_mhz": float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
            "gpu_c": float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
            "gpu_throttled": f"reasons {reasons:#x}" if reasons & ~harmless else "",
        }
    return {}


def _gpu_names(index: int) -> dict[str, str | None]:
    with suppress(Exception):  # no driver, no library: no GPU
        import pynvml  # noqa: PLC0415 - only where there is a GPU

        name = str(pynvml.nvmlDeviceGetName(_gpu_handle(index)))
        return {"gpu": name, "gpu_driver": str(pynvml.nvmlSystemGetDriverVersion())}
    return {"gpu": None}


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _commit() -> str | None:
    """The clone's commit, with ``+`` behind it where files differ from it; None outside a clone."""
    folder = Path(__file__).parent
    try:
        head = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            ["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip()[:12] + ("+" if changes.stdout.strip() else "")
