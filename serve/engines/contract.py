"""A graph's own inputs and outputs held against the graph contract, whichever engine tells them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from scene.artifact import TensorSpec
from scene.errors import ArtifactError

Sides = Sequence[int | str | None]
"""A shape; a side that is no number is open."""

_TRACES = ("Exception from ", "Check '", "Loading input model")
"""How OpenVINO's lines begin that name places in its own source, or what it was about."""


def check_contract(found: Mapping[str, tuple[str, Sides]], tensors: Mapping[str, TensorSpec], path: Path) -> None:
    """Hold names, dtypes (numpy's names, empty for any other) and every fixed side against the manifest's tensors.

    Raises ``ArtifactError`` for the first that differs.
    """
    for name, spec in tensors.items():
        if name not in found:
            raise ArtifactError(f"{path} has no tensor {name}, which the graph contract asks for")
        dtype, shape = found[name]
        if dtype != spec.dtype or not _shape_fits(shape, spec.shape):
            raise ArtifactError(
                f"{path}: the tensor {name} should be {spec.dtype} {spec.shape}, but is {dtype or 'of another type'} "
                f"{list(shape)}"
            )


def first_line(error: Exception) -> str:
    """What an engine's library says, without its traces."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith(_TRACES)), type(error).__name__)


def _shape_fits(shape: Sides, expected: Sides) -> bool:
    """Whether the ranks agree and every side that both know; a side that the graph leaves open fits."""
    if len(shape) != len(expected):
        return False
    known = [(side, wanted) for side, wanted in zip(shape, expected, strict=True) if isinstance(side, int)]
    return all(side == wanted for side, wanted in known)
