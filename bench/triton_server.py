"""Triton Inference Server on a free port of this machine, for as long as a block runs, with models of the same work.

Its Python backend runs ``bench.triton_model`` from this clone, so that frames are decoded and masks are drawn by the
very code that StreetMask's server runs: what differs is the server.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scene.artifact import Precision
from scene.errors import DataError
from serve.engines import EngineName

ROOT = Path(__file__).parent.parent
"""The clone, whose packages Triton's models and client import."""

IMAGE, ANSWER = "image", "answer"
"""The input, bytes of a JPEG file, and the output, bytes of a ``SegmentResponse``: both uint8 [1, N]."""

_STOP_S = 30.0
_LOG_LINES = 15


@dataclass(frozen=True)
class QueuePolicy:
    """How long a request may wait in Triton, and how many may: what is beyond it is rejected."""

    timeout_us: int
    max_queue_size: int


@dataclass(frozen=True)
class Setup:
    """One way to configure Triton for the model: so many instances, processes of their own, of so many threads each.

    Without a ``policy`` every request waits for its turn.
    """

    name: str
    instances: int
    threads: int
    policy: QueuePolicy | None = None


@dataclass(frozen=True)
class Work:
    """What each of Triton's models runs."""

    folder: Path
    engine: EngineName
    precision: Precision

    @property
    def name(self) -> str:
        """For people: ``openvino in int8``."""
        return f"{self.engine} in {self.precision}"


class RunningTriton(NamedTuple):
    """Where it listens, HOST:PORT, and which process it is; its models are children of that."""

    address: str
    pid: int


def config_text(setup: Setup, work: Work) -> str:
    """The model's ``config.pbtxt``."""
    parameters = {
        "folder": str(work.folder.resolve()),
        "engine": work.engine,
        "precision": work.precision,
        "threads": str(setup.threads),
    }
    lines = [
        f"name: {json.dumps(setup.name)}",
        'backend: "python"',
        "max_batch_size: 1",
        f'input [ {{ name: "{IMAGE}" data_type: TYPE_UINT8 dims: [ -1 ] }} ]',
        f'output [ {{ name: "{ANSWER}" data_type: TYPE_UINT8 dims: [ -1 ] }} ]',
        f"instance_group [ {{ count: {setup.instances} kind: KIND_CPU }} ]",
    ]
    for key, value in parameters.items():
        lines.append(f"parameters {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(value)} }} }}")
    if setup.policy is not None:
        timeout_us, size = setup.policy.timeout_us, setup.policy.max_queue_size
        limits = f"timeout_action: REJECT default_timeout_microseconds: {timeout_us} max_queue_size: {size}"
        lines.append(f"dynamic_batching {{ default_queue_policy {{ {limits} }} }}")
    return "\n".join(lines) + "\n"


def write_repository(folder: Path, setups: Mapping[Setup, Work]) -> None:
    """Write Triton's model repository: a folder for each setup, with what it runs."""
    for setup, work in setups.items():
        version = folder / setup.name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(config_text(setup, work))
        (version / "model.py").write_text("from bench.triton_model import TritonPythonModel  # noqa: F401\n")


@contextmanager
def triton_process(environment: Path, repository: Path) -> Iterator[RunningTriton]:
    """Start the binary that lies in the environment, and stop it by its process id, whatever happens in the block.

    It may still be loading its models when the block begins. What it writes goes to ``triton.log`` beside the
    repository. Raises ``DataError`` where it has ended by the end of the block, with the end of that log.
    """
    package = site_packages(environment) / "pytriton" / "tritonserver"
    port = _free_port()
    command = [
        *(str(package / "bin" / "tritonserver"), f"--model-repository={repository}"),
        *(f"--backend-directory={package / 'backends'}", f"--cache-directory={package / 'caches'}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={port}", "--allow-http=false", "--allow-metrics=false"),
        "--exit-timeout-secs=10",
    ]
    log = repository.parent / "triton.log"
    with (
        _ended_in_order(),
        log.open("wb") as stream,
        # A session of its own, as Ctrl-C is ours to hear: it would end Triton while it is still asked.
        subprocess.Popen(
            command, stdout=stream, stderr=stream, env=_variables(environment), start_new_session=True
        ) as process,
    ):
        try:
            yield RunningTriton(f"127.0.0.1:{port}", process.pid)
        except Exception as error:
            if process.poll() is not None:
                raise DataError(f"Triton ended while it was needed: {log_end(log)}") from error
            raise
        finally:
            _stop(process)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM end this program as an exception does, by which what it started is stopped."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def log_end(log: Path) -> str:
    """The last lines of what Triton wrote, as one."""
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:])


def site_packages(environment: Path) -> Path:
    """Where the environment's packages lie; raises ``DataError`` where there is no such folder."""
    found = next(environment.glob("lib/python3.*/site-packages"), None)
    if found is None:
        raise DataError(f"expected a virtual environment in {environment}, found none; remove the folder, run it again")
    return found


def client_variables(environment: Path) -> dict[str, str]:
    """Environment variables of a process that imports the clone's packages and the environment's."""
    paths = os.pathsep.join((str(ROOT), str(site_packages(environment))))
    return os.environ | {"PYTHONPATH": paths, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _variables(environment: Path) -> dict[str, str]:
    """Triton's: the Python within its backend finds packages by PYTHONPATH, as it is not the environment's own."""
    libraries = site_packages(environment) / "nvidia_pytriton.libs"
    search = os.pathsep.join(filter(None, (os.environ.get("LD_LIBRARY_PATH"), str(libraries))))
    binaries = os.pathsep.join((str(environment / "bin"), os.environ.get("PATH", "")))
    return client_variables(environment) | {"LD_LIBRARY_PATH": search, "PATH": binaries}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):  # its session holds its models' processes, which it may have left, and no other
        os.killpg(process.pid, signal.SIGKILL)
