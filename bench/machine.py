"""The machine that is measured on, and what it did meanwhile: clock, heat, throttling, and others' work."""

import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from serve.settings import usable_cpus

PACKAGES = ("streetmask", "numpy", "opencv-python-headless", "onnxruntime", "torch", "grpcio", "tensorrt")
_CLOCK_MOVED = 0.05
_HEATED_C = 10.0
_OTHERS_SHARE = 0.1


@dataclass(frozen=True)
class State:
    """One reading; None where the machine does not tell. Times are seconds of all CPUs since it started."""

    cpu_mhz: float | None
    cpu_c: float | None
    load: float
    busy_s: float
    stolen_s: float
    total_s: float
    gpu_mhz: float | None = None
    gpu_c: float | None = None
    gpu_throttled: str = ""


class Watch:
    """Reads the machine when made and again for the report, and says what would spoil a comparison."""

    def __init__(self) -> None:
        self._before = read_state()
        self._ours_s = 0.0
        self._own_before_s = _own_cpu_s()

    def add_process(self, cpu_s: float) -> None:
        """Count a worker's CPU time as ours: it ends before the report."""
        self._ours_s += cpu_s

    def report(self) -> dict[str, Any]:
        """``machine``, ``before``, ``after``, ``meanwhile`` and ``warnings`` for a run's document."""
        after = read_state()
        passed_s = max(after.total_s - self._before.total_s, 1e-9)
        ours_s = self._ours_s + _own_cpu_s() - self._own_before_s
        others = max(0.0, after.busy_s - self._before.busy_s - ours_s) / passed_s
        stolen = max(0.0, after.stolen_s - self._before.stolen_s) / passed_s
        meanwhile = {"others_cpu_share": round(others, 4), "stolen_cpu_share": round(stolen, 4)}
        return {
            "machine": describe(),
            "before": _reading(self._before),
            "after": _reading(after),
            "meanwhile": meanwhile,
            "warnings": warnings(self._before, after, others, stolen),
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
    if others > _OTHERS_SHARE:
        found.append(f"other programs took {others:.0%} of the CPUs' time: compare ratios, not milliseconds")
    if stolen > _CLOCK_MOVED:
        found.append(f"the host took {stolen:.0%} of the CPUs' time away: compare ratios, not milliseconds")
    return found


def read_state() -> State:
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
        **_gpu_state(),
    )


@cache
def describe() -> dict[str, Any]:
    """Hardware, versions and commit."""
    return {
        "cpu": _cpu_name(),
        "cpus": usable_cpus(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _gpu_name(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
    }


def gpu_memory_bytes(pid: int) -> int | None:
    """What a process holds on the first GPU; None without a GPU."""
    with suppress(Exception):  # no driver, no library, no permission: all the same here
        import pynvml  # noqa: PLC0415 - only where there is a GPU

        handle = _gpu()
        rows = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return next((int(row.usedGpuMemory) for row in rows if row.pid == pid and row.usedGpuMemory), None)
    return None


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


def _gpu() -> Any:
    import pynvml  # noqa: PLC0415 - only where there is a GPU

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def _gpu_state() -> dict[str, Any]:
    with suppress(Exception):  # no driver, no library, no permission: all the same here
        import pynvml  # noqa: PLC0415 - only where there is a GPU

        handle = _gpu()
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        harmless = pynvml.nvmlClocksThrottleReasonGpuIdle | pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting
        return {
            "gpu_mhz": float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
            "gpu_c": float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
            "gpu_throttled": f"reasons {reasons:#x}" if reasons & ~harmless else "",
        }
    return {}


def _gpu_name() -> str | None:
    with suppress(Exception):  # no driver, no library: no GPU
        import pynvml  # noqa: PLC0415 - only where there is a GPU

        return str(pynvml.nvmlDeviceGetName(_gpu()))
    return None


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
