"""``streetmask export triton``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from export.triton import write_repository
from export.triton_config import TritonOptions


@dataclass(frozen=True)
class ExportTritonArguments:
    """Add a model folder to a model repository of Triton Inference Server."""

    artifact: tyro.conf.Positional[Path]
    """Model folder, such as models/street-nano/1."""
    repository: Path
    """Model repository to write into; what else is in it stays."""
    options: Annotated[TritonOptions, tyro.conf.arg(name="")]


def export_triton(arguments: ExportTritonArguments) -> None:
    """Write the repository and say where the model is."""
    print(f"wrote {write_repository(arguments.artifact, arguments.repository, arguments.options)}")
