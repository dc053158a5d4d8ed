"""Where a model's files lie in a repository of Triton, and what was there before."""

import errno
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import export.triton
import export.triton_graph
from export.triton import write_repository
from export.triton_config import TritonOptions
from scene.artifact import ModelFile, file_sha256, write_artifact
from scene.errors import ArtifactError, ConfigurationError, DataError
from tests.export.conftest import VERIFIED_SCENES, Published

PLAN = b"bytes of a plan"
BUILT_FOR = {"version": "11.1.0.5", "smallest_batch": "1", "largest_batch": "8"}
NOW = TritonOptions("26.08")


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.triton_graph, "VERIFY_SCENES", VERIFIED_SCENES)


def silent(_: str) -> None:
    pass


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(published: Published, folder: Path, plans: Sequence[dict[str, str]] = (), **fields: Any) -> Path:
    """A copy of the artifact with other fields, and with plans that were built for that."""
    shutil.copytree(published.folder, folder)
    files = list(published.artifact.files)
    for number, built_for in enumerate(plans):
        path = folder / f"model.{number}.plan"
        path.write_bytes(PLAN)
        files.append(ModelFile(path.name, "tensorrt", "float16", file_sha256(path), built_for, "GridSample"))
    write_artifact(replace(published.artifact, **({"files": files} | fields)), folder)
    return folder


def test_a_repository_is_made_where_there_is_none(published: Published, tmp_path: Path) -> None:
    repository = tmp_path / "deep" / "models"
    assert write_repository(published.folder, repository, NOW, silent) == repository / "tiny"
    assert set(files_of(repository)) == {"tiny/config.pbtxt", "tiny/1/model.onnx"}
    assert files_of(repository)["tiny/1/model.onnx"] == (published.folder / "model.onnx").read_bytes()


def test_other_models_and_other_versions_stay(published: Published, tmp_path: Path) -> None:
    before = {
        "other/config.pbtxt": b"name: other",
        "other/1/model.plan": b"1",
        "tiny/3/model.onnx": b"3",
        "tiny/a": b"a",
    }
    for name, content in before.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    write_repository(published.folder, tmp_path, NOW, silent)
    after = files_of(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"tiny/config.pbtxt", "tiny/1/model.onnx"}
    assert b"version_policy { specific { versions: [ 1 ] } }" in after["tiny/config.pbtxt"]


def test_the_same_version_is_replaced_whole(published: Published, tmp_path: Path) -> None:
    old = tmp_path / "tiny" / "1"
    for folder in (old, tmp_path / "tiny" / "1.partial", tmp_path / "tiny" / "1.before"):
        folder.mkdir(parents=True)
        (folder / "model.plan").write_bytes(b"old")
    write_repository(published.folder, tmp_path, NOW, silent)
    assert set(files_of(tmp_path)) == {"tiny/config.pbtxt", "tiny/1/model.onnx"}


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_what_was_there(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    repository = tmp_path / "models"
    if existing:
        write_repository(published.folder, repository, TritonOptions("26.08", instances=3), silent)
    before = files_of(tmp_path)

    def full(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(
        DataError, match=r"cannot write .*tiny: No space left on device; what was saved before is whole"
    ):
        write_repository(published.folder, repository, NOW, silent)
    assert files_of(tmp_path) == before
    assert repository.exists() == existing


@pytest.mark.parametrize("existing", [False, True])
def test_a_configuration_that_cannot_be_replaced_leaves_the_version_that_it_describes(
    published: Published, tmp_path: Path, existing: bool
) -> None:
    (tmp_path / "tiny" / "config.pbtxt").mkdir(parents=True)  # a folder, which no file replaces
    if existing:
        (tmp_path / "tiny" / "1").mkdir()
        (tmp_path / "tiny" / "1" / "model.onnx").write_bytes(b"old")
    before = files_of(tmp_path)
    with pytest.raises(OSError, match=r"config\.pbtxt"):
        write_repository(published.folder, tmp_path, NOW, silent)
    assert files_of(tmp_path) == before


def test_a_file_is_no_repository(published: Published, tmp_path: Path) -> None:
    for name in ("file", "repository/tiny"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataError, match=r"expected a folder as model repository, but .* a file is there"):
            write_repository(published.folder, tmp_path / name.partition("/")[0], NOW, silent)


def test_a_release_newer_than_known_is_told(published: Published, tmp_path: Path) -> None:
    said: list[str] = []
    write_repository(published.folder, tmp_path, TritonOptions("31.01"), said.append)
    assert said == ["of Triton 31.01, what it holds is not known here: taken to be what 26.08 holds"]


def test_a_precision_without_a_file_is_told(published: Published, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        write_repository(published.folder, tmp_path, TritonOptions("26.08", precision="float16"), silent)
    assert str(refused.value) == (
        "precision: expected one in which tiny version 1 has a file for the backend onnxruntime, but 'float16' came; "
        "its files are onnx float32"
    )
    assert not files_of(tmp_path)


def test_triton_passes_over_version_0(published: Published, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a version from 1, since Triton passes over 0, but 0 came"):
        write_repository(changed(published, tmp_path / "0", version=0), tmp_path / "models", NOW, silent)


def test_a_name_that_leads_out_of_the_repository_is_refused(published: Published, tmp_path: Path) -> None:
    for number, name in enumerate(("../elsewhere", "/tmp/elsewhere", "..", "")):
        with pytest.raises(ArtifactError, match="expected a model's name that names a folder"):
            write_repository(changed(published, tmp_path / str(number), name=name), tmp_path / "models", NOW, silent)
    assert not (tmp_path / "models").exists()


def test_a_plan_for_the_releases_tensorrt_is_copied(published: Published, tmp_path: Path) -> None:
    folder = changed(published, tmp_path / "1", plans=[BUILT_FOR])
    options = TritonOptions("26.08", backend="tensorrt", precision="float16")
    home = write_repository(folder, tmp_path / "models", options, silent)
    assert (home / "1" / "model.plan").read_bytes() == PLAN
    assert 'platform: "tensorrt_plan"' in (home / "config.pbtxt").read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"triton_version": "26.05"},
            "triton_version: expected a release with TensorRT 11.1.0.5, which built model.0.plan, but '26.05 with "
            "TensorRT 10' came",
        ),
        ({"max_batch_size": 9}, "max_batch_size: expected what model.0.plan takes, 1 to 8 frames, but '1 to 9' came"),
        ({"score_threshold": 0.1}, "score_threshold: expected 0, since model.0.plan leaves no row out, but 0.1 came"),
    ],
)
def test_a_plan_that_cannot_run_so_is_told(
    published: Published, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    folder = changed(published, tmp_path / "1", plans=[BUILT_FOR])
    fields = {"triton_version": "26.08", "backend": "tensorrt", "precision": "float16"} | options
    with pytest.raises(ConfigurationError) as refused:
        write_repository(folder, tmp_path / "models", TritonOptions(**fields), silent)
    assert str(refused.value) == sentence
    assert not (tmp_path / "models").exists()
