"""Triton's virtual environment: the server's binary, its client, and what the model needs, apart from this program's.

``nvidia-pytriton`` carries the binary of Triton Inference Server with its Python backend, and wants numpy before 2,
which StreetMask does not run with; hence an environment of its own.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.triton_server import ROOT, site_packages
from scene.errors import StreetMaskError

REQUIREMENTS = (
    *("nvidia-pytriton==0.7.*", "numpy<2", "opencv-python-headless<5"),
    *("onnxruntime", "openvino", "pycocotools", "msgspec", "pillow"),
    *("grpcio", "grpcio-health-checking", "protobuf", "av", "tyro", "psutil"),
)
"""What is installed; in the versions of ``requirements.lock`` all but those that stand with a version here."""

_INSTALL_S = 1800.0
_BACKEND_STUB = "triton_python_backend_stub"


class UnavailableError(StreetMaskError):
    """Triton cannot be had on this machine; the sentence says why."""


def make_environment(folder: Path) -> Path:
    """Make the environment unless it is there and complete; return its folder, absolute.

    Raises ``UnavailableError`` where Triton cannot be installed or cannot run here.
    """
    folder, lock = folder.resolve(), ROOT / "requirements.lock"
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        raise UnavailableError(f"nvidia-pytriton has Triton's binary for 64-bit Linux only, and this is {sys.platform}")
    if not lock.is_file():
        raise UnavailableError(f"Triton's model runs from a clone, but {ROOT} has no requirements.lock: run it in one")
    wanted = pinned(lock.read_text())
    done = folder / "installed"
    if not (done.is_file() and done.read_text().splitlines() == wanted):
        done.unlink(missing_ok=True)
        _install(folder, wanted)
        done.write_text("\n".join(wanted) + "\n")
    _check_libraries(folder)
    return folder


def pinned(lock: str) -> list[str]:
    """The requirements, those without a version of their own in the version that the text of a lock file gives them."""
    locked = {_name(line): line for line in lock.splitlines() if "==" in line and not line.startswith("#")}
    return [locked.get(requirement, requirement) for requirement in REQUIREMENTS]


def reason_of(output: str) -> str:
    """The error in pip's output, in one sentence."""
    errors = [line.removeprefix("ERROR:").strip() for line in output.splitlines() if line.startswith("ERROR:")]
    lines = errors or output.strip().splitlines()[-1:] or ["pip said nothing"]
    return lines[0].rstrip(".")


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~\[ ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _install(folder: Path, requirements: list[str]) -> None:
    print(f"installing Triton into {folder}", file=sys.stderr, flush=True)
    _run("no virtual environment could be made", [sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run("Triton could not be installed", [*pip, *requirements])
    _place_stub(folder)


def _place_stub(folder: Path) -> None:
    """Its own launcher would copy the Python backend's process of the right Python to where the backend looks for it;
    but that launcher does not start under every Python 3.11."""
    server = site_packages(folder) / "pytriton" / "tritonserver"
    version = site_packages(folder).parent.name.removeprefix("python")
    stub = server / "python_backend_stubs" / version / _BACKEND_STUB
    if not stub.is_file():
        raise UnavailableError(f"nvidia-pytriton has no Python backend for Python {version}: use 3.11, 3.12 or 3.13")
    shutil.copy2(stub, server / "backends" / "python")


def _check_libraries(folder: Path) -> None:
    """The backend's process needs Python as a shared library, which not every machine has."""
    stub = site_packages(folder) / "pytriton" / "tritonserver" / "backends" / "python" / _BACKEND_STUB
    lines = _run("Triton's Python backend cannot run here", ["ldd", str(stub)]).splitlines()
    missing = [line.split()[0] for line in lines if "not found" in line]
    if missing:
        raise UnavailableError(
            f"Triton's Python backend needs {', '.join(missing)}: install Python's shared library of that version"
        )


def _run(complaint: str, command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{complaint}: {error}") from error
    if done.returncode:
        raise UnavailableError(f"{complaint}: {reason_of(done.stderr or done.stdout)}")
    return done.stdout
