"""What a server begins with: a version's folder, a model's, or a whole repository, and the versions that are pinned."""

from dataclasses import dataclass
from pathlib import Path

from scene.artifact import MANIFEST, read_artifact
from scene.errors import ArtifactError, ConfigurationError, require
from serve.deployment import Deployment
from serve.repository import Repository, check_name, is_name, version_number
from serve.settings import ServerSettings


@dataclass(frozen=True)
class Start:
    """The repository, what is loaded of it at first, and the one name that new versions are taken of; empty for all."""

    repository: Repository
    wanted: list[Deployment]
    name: str = ""

    @property
    def default(self) -> str:
        """The name that answers calls which name none: the first by the alphabet, whatever is deployed later."""
        return min((each.name for each in self.wanted), default="")


def find_models(path: Path, settings: ServerSettings) -> Start:
    """What ``streetmask serve`` is to serve: a folder ``NAME/VERSION``, the newest version in a folder ``NAME``, or
    that of every name in a repository; pinned versions instead of the newest.

    Raises ``ArtifactError`` where no model is, ``ConfigurationError`` for a pin of what is not there.
    """
    folder, pins = path.resolve(), [_pinned(pin) for pin in settings.pin]
    if (folder / MANIFEST).exists():
        require("pin", not pins, "none for a folder NAME/VERSION, which is one version", ", ".join(settings.pin))
        return _one_version(path, folder, settings)
    bytes_ = settings.max_artifact_mib << 20
    above, below = Repository(folder.parent, bytes_), Repository(folder, bytes_)
    if is_name(folder.name) and above.versions(folder.name):
        return Start(above, _wanted(above, [folder.name], pins), folder.name)
    if names := below.names():
        return Start(below, _wanted(below, names, pins))
    read_artifact(path)  # says what was expected there, and how to make one
    raise ArtifactError(f"expected a model folder at {path}, found none")


def _one_version(path: Path, folder: Path, settings: ServerSettings) -> Start:
    version = version_number(folder.name)
    if version is None:
        artifact = read_artifact(path)
        raise ArtifactError(
            f"{path} holds {artifact.name} version {artifact.version}, but is not called so; move it to "
            f"{artifact.name}/{artifact.version}"
        )
    repository = Repository(folder.parent.parent, settings.max_artifact_mib << 20)
    return Start(repository, [Deployment(folder.parent.name, version)], folder.parent.name)


def _wanted(repository: Repository, names: list[str], pins: list[tuple[str, int]]) -> list[Deployment]:
    """Pinned versions of a name stand beside one another; of several the last is loaded last, and so is current."""
    pinned = {name for name, _ in pins}
    for name in sorted(pinned - set(names)):
        raise ConfigurationError("pin", f"expected a model that is served ({', '.join(names)}), but {name!r} came")
    newest = [Deployment(name, repository.newest(name)) for name in names if name not in pinned]
    return [*newest, *(Deployment(name, version, keep_others=True) for name, version in pins)]


def _pinned(pin: str) -> tuple[str, int]:
    name, _, number = pin.rpartition("=")
    version = version_number(number)
    if version is None:
        raise ConfigurationError("pin", f"expected NAME=VERSION, but {pin!r} came")
    check_name(name)
    return name, version
