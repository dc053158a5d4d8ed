"""An artifact as a model of Triton Inference Server: ``config.pbtxt`` and versions in a folder ``REPOSITORY/NAME``."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.triton_config import MODEL_FILES, TritonOptions, config_text
from export.triton_graph import Source, refuse_threshold, write_graph
from export.triton_release import TritonRelease, find_release
from scene.artifact import Artifact, ModelFile, read_artifact
from scene.disk import writing
from scene.errors import ArtifactError, ConfigurationError, DataError, require

_CONFIG = "config.pbtxt"


def write_repository(
    artifact_folder: Path, repository: Path, options: TritonOptions, say: Callable[[str], None] = print
) -> Path:
    """Add an artifact to a model repository, which is made if there is none, and return its model's folder.

    The artifact's own file is copied where the release of Triton can run it. Where its ONNX Runtime has no
    ``DeformConv``, the network is exported anew, from the checkpoint in the artifact, with ``GridSample``, and held
    against the artifact's graph on generated scenes. Other models and other versions of this one stay; the new
    configuration serves this version. A failure leaves what was there.

    Raises ``ConfigurationError`` for options that do not fit the artifact or the release, ``ArtifactError`` for a
    damaged artifact and for a graph that answers otherwise, ``DataError`` for a path or disk that cannot be written.
    """
    artifact, release = read_artifact(artifact_folder), find_release(options.triton_version)
    _check_identity(artifact)
    source = Source(artifact_folder, artifact, _file_for(artifact, options), options, release)
    if release.remark:
        say(f"of Triton {release.version}, {release.remark}")
    home = repository / artifact.name
    with _draft_folder(home, artifact.version) as draft:
        lowering = _write_model(source, draft / MODEL_FILES[options.backend], say)
        text = config_text(artifact, source.entry, options, release, lowering)
        (draft / _CONFIG).write_text(text, encoding="utf-8")
        _take_place(draft, home, artifact.version)
    return home


def _check_identity(artifact: Artifact) -> None:
    if Path(artifact.name).name != artifact.name or artifact.name in ("", ".."):
        raise ArtifactError(f"expected a model's name that names a folder, but {artifact.name!r} came; export it again")
    require("version", artifact.version >= 1, "a version from 1, since Triton passes over 0", artifact.version)


def _file_for(artifact: Artifact, options: TritonOptions) -> ModelFile:
    """The file of the artifact that the options ask for."""
    kind = "onnx" if options.backend == "onnxruntime" else options.backend
    found = [each for each in artifact.files if (each.engine, each.precision) == (kind, options.precision)]
    if found:
        return found[0]
    there = ", ".join(f"{each.engine} {each.precision}" for each in artifact.files if each.engine != "torch")
    raise ConfigurationError(
        "precision",
        f"expected one in which {artifact.name} version {artifact.version} has a file for the backend "
        f"{options.backend}, but {options.precision!r} came; its files are {there}",
    )


def _write_model(source: Source, path: Path, say: Callable[[str], None]) -> str:
    """Write the file that Triton loads and return the operator of its deformable convolutions."""
    if source.options.backend == "onnxruntime":
        return write_graph(source, path, say)
    _check_plan(source.entry, source.options, source.release)
    refuse_threshold(source)
    shutil.copyfile(source.path, path)
    return source.entry.lowering


def _check_plan(plan: ModelFile, options: TritonOptions, release: TritonRelease) -> None:
    """A plan runs with the TensorRT that built it alone, and takes the batches that it was built for."""
    built_by, built_for = plan.built_for.get("version", ""), plan.built_for
    require(
        "triton_version",
        built_by.split(".")[0] == str(release.tensorrt_major),
        f"a release with TensorRT {built_by}, which built {plan.path}",
        f"{release.version} with TensorRT {release.tensorrt_major}",
    )
    smallest, largest = int(built_for.get("smallest_batch", 1)), int(built_for.get("largest_batch", 1))
    require(
        "max_batch_size",
        smallest == 1 and options.max_batch_size <= largest,
        f"what {plan.path} takes, {smallest} to {largest} frames",
        f"1 to {options.max_batch_size}",
    )


@contextmanager
def _draft_folder(home: Path, version: int) -> Iterator[Path]:
    """A folder of a name that Triton passes over, in the model's own, where a rename moves it; gone after a failure."""
    draft = home / f"{version}.partial"
    shutil.rmtree(draft, ignore_errors=True)
    made = [each for each in (home, home.parent) if not each.exists()]
    try:
        draft.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(f"expected a folder as model repository, but {home} cannot be one: a file is there") from error
    try:
        with writing(home):
            yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for each in made:
            with suppress(OSError):  # it is not empty: somebody else put something there
                each.rmdir()
        raise


def _take_place(draft: Path, home: Path, version: int) -> None:
    """The draft becomes the version, the one that was there goes; the configuration comes last, in one step."""
    final, before = home / str(version), home / f"{version}.before"
    shutil.rmtree(before, ignore_errors=True)
    config = (draft / _CONFIG).replace(home / f"{_CONFIG}.partial")
    replaced = final.exists()
    if replaced:
        final.rename(before)
    try:
        draft.rename(final)
        config.replace(home / _CONFIG)
    except OSError:
        config.unlink(missing_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        if replaced:
            before.rename(final)
        raise
    shutil.rmtree(before, ignore_errors=True)
