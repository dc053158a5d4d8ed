"""``streetmask verify``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from export.command import named_data
from export.material import Material
from export.verification_lines import as_dict, lines
from export.verify import verify
from scene.artifact import read_artifact
from scene.errors import require
from serve.engines import EngineName
from serve.settings import usable_cpus


@dataclass(frozen=True)
class VerifyArguments:
    """Hold every engine and precision of a model folder that runs here against torch: a table, then a line of JSON.

    AP is a change against torch's, in points of 100. Changes nothing in the folder; exits with 1 if a limit is broken.
    """

    artifact: Annotated[Path, tyro.conf.Positional]
    """Model folder such as models/street-nano/1."""
    data: tuple[str, ...] = ()
    """NAME=SET: data sets to verify on; the change of AP is measured on the first, else on generated scenes."""
    pictures: Path | None = None
    """Folder of pictures without labels to verify on, too."""
    scenes: int | None = None
    """Generated scenes; without it 50, or 6 of a network of more than ten million weights."""
    first: int | None = None
    """Only so many pictures of each data set."""
    engines: tuple[EngineName, ...] = ()
    """Only these; without it every one that runs here."""
    threads: int = field(default_factory=usable_cpus)
    """CPU threads."""

    def __post_init__(self) -> None:
        require("threads", self.threads >= 1, "1 or more", self.threads)


def verify_artifact(arguments: VerifyArguments) -> int:
    """The exit status: 1 if a limit is broken of which the manifest does not say so already."""
    data = [named_data(entry) for entry in arguments.data]
    material = Material(arguments.scenes, data, arguments.pictures, arguments.first)
    artifact = read_artifact(arguments.artifact)
    report = verify(arguments.artifact, artifact, material, arguments.engines, arguments.threads)
    print(*lines(report), sep="\n")
    print(json.dumps(as_dict(report), allow_nan=False))
    known = {(each.file, each.precision) for each in artifact.verified if each.beyond}
    return int(any(each.beyond and (each.file, each.precision) not in known for each in report.verified))
