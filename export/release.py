"""``streetmask release``: a checkpoint becomes the next version of a published model, unless it is the worse one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import tyro

from export.command import BuildArguments
from export.material import Material, generated_scenes, picture_sets
from export.predictor import EnginePredictor
from export.publish import publish
from export.verification_lines import lines
from export.verify import Report
from scene.artifact import Artifact, Verification, read_artifact
from scene.disk import writing
from scene.errors import ArtifactError, ServerError, require
from serve.admin_client import AdminClient, deployed
from serve.deployment import Deployment
from serve.engines import open_engine, ways
from serve.repository import Repository, is_name
from training.checkpoint import load_network
from training.data.dataset import InstanceDataset
from training.evaluate import evaluate


@dataclass(frozen=True, kw_only=True)
class ReleaseArguments(BuildArguments):
    """Export, verify, compare box and mask AP with the version now published, and publish as the next version.

    Both versions are measured on the same pictures: the first data set, without one generated scenes.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Checkpoint of `streetmask train`, or published weights."""
    name: str
    """Model's name: a folder of --models, such as street-nano."""
    models: Path = Path("models")
    """Folder of models."""
    largest_fall: float = 0.5
    """Points of 100 that box and mask AP may lie below the published version's."""
    deploy: str = ""
    """HOST:PORT of a server of --models, which answers with the new version as soon as that is published."""
    token: str = ""
    """The server's admin token; without it the variable STREETMASK_ADMIN_TOKEN."""

    def __post_init__(self) -> None:
        require("largest_fall", self.largest_fall >= 0, "0 or more", self.largest_fall)
        require("name", is_name(self.name), "the name of a folder in --models that a server takes", self.name)


class _Former(NamedTuple):
    """The version that is published now."""

    folder: Path
    artifact: Artifact


def release(arguments: ReleaseArguments) -> None:
    """Publish the checkpoint as the next version, or raise ``ArtifactError`` with nothing written; then deploy it where
    that is asked for, or raise ``ServerError`` with the version published and the server as it was.

    What the published version says of itself is read first, and the server is asked what it has: an export takes
    minutes.
    """
    if arguments.deploy:
        _ask(arguments)
    root = arguments.models / arguments.name
    number = max(Repository(arguments.models).versions(arguments.name), default=None)
    out = root / str((number or 0) + 1)
    if out.exists():
        raise ArtifactError(f"{out} is there, but has no manifest: wait until it is whole, or take it away")
    publication = arguments.publication()
    former = None if number is None else _Former(root / str(number), read_artifact(root / str(number)))
    others = "" if former is None else _other_classes(former, arguments)
    _refuse(others, arguments)

    def accept(artifact: Artifact, report: Report) -> Artifact:
        print(*lines(report), sep="\n")
        if former is None:
            print(f"the first version of {arguments.name}: there is none to compare it with")
            return artifact
        complaint = others or _compared(artifact, report, former, publication.material, arguments.largest_fall)
        _refuse(complaint, arguments)
        return _remarked(artifact, complaint) if complaint else artifact

    publish(arguments.checkpoint, out, publication, accept=accept)
    print(f"released {out}")
    if arguments.deploy:
        print(_deployed(arguments, int(out.name)))


def _ask(arguments: ReleaseArguments) -> None:
    """Raise ``ServerError`` where nothing can be deployed."""
    with AdminClient(arguments.deploy, arguments.token, timeout_s=30.0) as admin:
        admin.models()


def _deployed(arguments: ReleaseArguments, version: int) -> str:
    try:
        with AdminClient(arguments.deploy, arguments.token) as admin:
            return deployed(arguments.deploy, admin.deploy(Deployment(arguments.name, version)))
    except ServerError as error:
        raise ServerError(f"{arguments.name} version {version} is published, but not deployed: {error}") from error


def _refuse(complaint: str, arguments: ReleaseArguments) -> None:
    if complaint and not arguments.allow:
        raise ArtifactError(f"{complaint}; nothing was written; --allow publishes it all the same")


def fall(new: Mapping[str, float], published: Mapping[str, float], largest_fall: float) -> str:
    """How much lower the new version's figures, by kind of AP in points, are than the published one's, in a sentence;
    empty where none falls by more than ``largest_fall``."""
    falls = {kind: published[kind] - value for kind, value in new.items() if published[kind] - value > largest_fall}
    return ", ".join(
        f"{kind} AP falls by {points:.2f} points, {largest_fall:g} allowed" for kind, points in falls.items()
    )


def _other_classes(former: _Former, arguments: ReleaseArguments) -> str:
    """Why the checkpoint cannot be compared with the published version whatever it answers; empty if it can."""
    new = load_network(arguments.checkpoint, arguments.preset).config.class_names
    old = former.artifact.class_names
    if list(new) == old:
        return ""
    return (
        f"{former.folder} finds {', '.join(old)}, this checkpoint {', '.join(new)}: "
        "AP of other classes cannot be compared; release it under another name"
    )


def _compared(artifact: Artifact, report: Report, former: _Former, material: Material, largest_fall: float) -> str:
    """Why the published version is the better one, or cannot be compared; empty if neither is so."""
    new = _figures(artifact.verified)
    if not new:
        missing = "no picture has labels of its classes; give --data"
        return f"this checkpoint cannot be compared with {former.folder}: {missing}"
    with TemporaryDirectory(prefix="streetmask-release-") as scratch, writing(Path(scratch)):
        dataset = _scored_again(report, material, tuple(artifact.class_names), Path(scratch))
        old = _score(former, dataset)
    for kind, value in new.items():
        print(f"{kind} AP: {value:.2f}, of version {former.artifact.version}: {old[kind]:.2f}")
    print(json.dumps({"compared_with": str(former.folder), "published": old, "new": new}))
    return fall(new, old, largest_fall)


def _figures(verified: list[Verification]) -> dict[str, float]:
    """Box and mask AP of the float32 graph on ONNX Runtime, by kind; empty without labels."""
    (figures,) = [each.figures for each in verified if (each.engine, each.precision) == ("onnxruntime", "float32")]
    return {kind: figures[f"{kind}_ap"] for kind in ("box", "mask") if f"{kind}_ap" in figures}


def _scored_again(report: Report, material: Material, class_names: tuple[str, ...], scratch: Path) -> InstanceDataset:
    """The pictures on which the new version's AP was measured."""
    alone = replace(material, scenes=0, pictures=None, data=material.data[:1]) if material.data else None
    scored = (
        picture_sets(alone, class_names, 0, scratch)[0]
        if alone
        else generated_scenes(report.scored_pictures, class_names, scratch)
    )
    assert scored.labelled is not None
    return scored.labelled


def _score(former: _Former, dataset: InstanceDataset) -> dict[str, float]:
    """Box and mask AP of its float32 graph, in points of 100."""
    folder, artifact = former
    engine = open_engine(folder, artifact, ways(artifact, "onnxruntime", "float32")[0], threads=2)
    result = evaluate(EnginePredictor(engine, artifact.size_hw), dataset)
    return {"box": 100 * result.box.ap, "mask": 100 * result.mask.ap}


def _remarked(artifact: Artifact, complaint: str) -> Artifact:
    """The artifact with the sentence in its first record."""
    first, *others = artifact.verified
    return replace(artifact, verified=[replace(first, remarks=[*first.remarks, complaint]), *others])
