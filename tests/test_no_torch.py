"""The serving and the client's installations have no torch: nothing that they import may load it."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("scene", "protos", "serve", "streetmask")
OF_TRAINING = (
    "training.data.everyday",
    "training.data.synthetic",
    "training.data.coco",
    "training.data.cityscapes",
    "training.data.pasting",
    "training.transforms",
    "training.evaluate",
    "training.thresholds",
)


def modules() -> list[str]:
    """Every module of the packages that serve, and those of training that read and draw."""
    found = [each.name for name in PACKAGES for each in pkgutil.walk_packages([str(ROOT / name)], f"{name}.")]
    runs_itself = [name for name in found if name.endswith("__main__")]
    return sorted(set(found) - set(runs_itself)) + list(OF_TRAINING)


def test_the_modules_are_found() -> None:
    assert {"serve.server", "serve.engines.onnx_engine", "scene.image", "streetmask.cli"} <= set(modules())


@pytest.mark.parametrize("heavy", ["torch", "onnx", "grpc_tools"])
def test_no_module_that_serves_needs_what_only_training_has(heavy: str) -> None:
    blocked = f"import sys; sys.modules[{heavy!r}] = None; import {', '.join(modules())}"
    done = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        (("onnxruntime", "prometheus_client", "grpc_reflection", "norfair"), "streetmask.commands.stream"),
        (("av", "supervision", "norfair"), "streetmask.commands.serve"),
    ],
)
def test_a_command_needs_only_its_own_extra(missing: tuple[str, ...], command: str) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({missing})); import {command}"
    done = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_that_serves_loads_torch() -> None:
    code = f"import sys, {', '.join(modules())}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
