"""What of a folder may be loaded, and what is never read."""

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.external_data_helper import set_external_data

from scene.artifact import MANIFEST, Artifact, file_sha256, read_artifact, write_artifact
from scene.errors import ArtifactError, ConfigurationError, StreetMaskError, UnknownModelError
from serve.engines import EngineName, Way, open_engine, why_not
from serve.repository import MAX_VERSION, Repository, version_number
from tests.serve.repository_server import write_repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models", 1, 2)


def test_an_empty_or_missing_folder_has_no_models(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        repository = Repository(folder)
        assert repository.names() == []
        assert repository.versions("tiny") == []
        with pytest.raises(
            UnknownModelError, match=r"expected a model of the repository \(no model\), but 'tiny' came"
        ):
            repository.newest("tiny")


def test_names_and_versions_are_folders_with_a_manifest(root: Path) -> None:
    write_repository(root, 3, name="other")
    for name in ("0", "01", "-1", "9.partial", "latest", "٣", "10"):
        (root / "tiny" / name).mkdir()
    (root / "tiny" / "10" / "model.onnx").write_text("still being copied")
    (root / "tiny" / "7").write_text("a file")
    (root / "empty").mkdir()
    (root / ".hidden").symlink_to(root / "tiny")
    (root / "README.md").write_text("a file")
    repository = Repository(root)
    assert repository.names() == ["other", "tiny"]
    assert repository.versions("tiny") == [1, 2]
    assert repository.newest("tiny") == 2
    assert repository.folder("tiny", 1) == root / "tiny" / "1"


def test_versions_are_numbers_in_order(root: Path) -> None:
    for version in (9, 10, 11):
        (root / "tiny" / str(version)).mkdir()
        (root / "tiny" / str(version) / MANIFEST).write_text("{}")
    assert Repository(root).versions("tiny") == [1, 2, 9, 10, 11]


BAD_NAMES = [
    "", ".", "..", "../tiny", "/", "/etc", "tiny/1", "tiny/../tiny", "a\0b", ".hidden", "tiny\n", "\x1b[2J", "a" * 129,
    "..\\tiny", "C:tiny",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_plain_name_is_refused(root: Path, name: str) -> None:
    repository = Repository(root)
    for ask in (repository.versions, repository.newest, lambda each: repository.folder(each, 1)):
        with pytest.raises(ConfigurationError, match="model_name: expected a folder's plain name"):
            ask(name)


@given(name=st.text(alphabet=st.sampled_from("./\\\0~tiny12"), max_size=12), version=st.integers())
def test_no_name_and_number_reach_outside_the_repository(
    tmp_path_factory: pytest.TempPathFactory, name: str, version: int
) -> None:
    base = tmp_path_factory.getbasetemp() / "nested"
    if not base.exists():
        write_repository(base / "models", 1)
        write_repository(base, 2)
    try:
        folder = Repository(base / "models").folder(name, version)
    except StreetMaskError:
        return
    assert folder == base / "models" / "tiny" / "1"


@pytest.mark.parametrize("version", [-1, 0, MAX_VERSION + 1])
def test_a_version_is_a_positive_number(root: Path, version: int) -> None:
    with pytest.raises(ConfigurationError, match=f"model_version: expected 1 to {MAX_VERSION}, but {version} came"):
        Repository(root).folder("tiny", version)


def test_a_version_that_is_not_there_is_told_with_those_that_are(root: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"a version of tiny in the repository \(1, 2\), but 3 came"):
        Repository(root).folder("tiny", 3)


def test_a_version_may_link_within_the_repository(root: Path) -> None:
    weights = root / "tiny" / "2" / "model.onnx"
    weights.unlink()
    weights.symlink_to("../1/model.onnx")
    assert Repository(root).folder("tiny", 2) == root / "tiny" / "2"


def test_a_repository_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert Repository(tmp_path / "link").folder("tiny", 2) == root / "tiny" / "2"


@pytest.mark.parametrize("linked", ["model.onnx", MANIFEST, "golden.png", "extra.bin"])
def test_a_file_that_leads_out_of_the_repository_is_refused(root: Path, tmp_path: Path, linked: str) -> None:
    path, outside = root / "tiny" / "1" / linked, tmp_path / "outside"
    outside.write_bytes(path.read_bytes() if path.exists() else b"secret")
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    with pytest.raises(ArtifactError, match=f"{linked} leads out of the repository"):
        Repository(root).folder("tiny", 1)


def test_a_linked_version_or_model_folder_outside_is_refused(root: Path, tmp_path: Path) -> None:
    write_repository(tmp_path / "elsewhere", 3)
    (root / "tiny" / "3").symlink_to(tmp_path / "elsewhere" / "tiny" / "3")
    (root / "other").symlink_to(tmp_path / "elsewhere" / "tiny")
    (root / "tiny" / "1" / "folder").symlink_to(tmp_path / "elsewhere")
    for name, version in (("tiny", 3), ("other", 3), ("tiny", 1)):
        with pytest.raises(ArtifactError, match="leads out of the repository"):
            Repository(root).folder(name, version)


def test_a_link_to_nothing_or_to_itself_is_refused(root: Path) -> None:
    for name, target in (("gone", "nowhere"), ("round", "round")):
        path = root / "tiny" / "1" / name
        path.symlink_to(target)
        with pytest.raises(ArtifactError, match=f"{name} is a link to nothing"):
            Repository(root).folder("tiny", 1)
        path.unlink()


def test_a_pipe_is_refused_before_anybody_waits_for_it(root: Path) -> None:
    os.mkfifo(root / "tiny" / "1" / "pipe")
    with pytest.raises(ArtifactError, match="pipe is neither a file nor a folder"):
        Repository(root).folder("tiny", 1)


def test_a_version_with_more_bytes_than_allowed_is_refused_before_it_is_read(root: Path) -> None:
    large = root / "tiny" / "1" / "deep" / "large.bin"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(3 << 20)  # a hole: no byte of it is on the disk
    assert Repository(root, max_bytes=4 << 20).folder("tiny", 1)
    with pytest.raises(ArtifactError, match=r"has more than 3 MiB of files; raise max_artifact_mib if it should"):
        Repository(root, max_bytes=3 << 20).folder("tiny", 1)


def test_an_enormous_manifest_is_not_read(root: Path) -> None:
    with (root / "tiny" / "1" / MANIFEST).open("ab") as file:
        file.truncate(1 << 34)
    with pytest.raises(ArtifactError, match="has more than 16 MiB, and is no manifest"):
        Repository(root, max_bytes=1 << 40).folder("tiny", 1)


def test_a_manifest_of_another_name_or_version_is_refused(root: Path) -> None:
    (root / "tiny" / "2").rename(root / "tiny" / "5")
    (root / "tiny").rename(root / "other")
    with pytest.raises(ArtifactError, match=r"is of tiny version 2; its folder should be tiny/2, not other/5"):
        Repository(root).folder("other", 5)
    with pytest.raises(ArtifactError, match=r"is of tiny version 1"):
        Repository(root).folder("other", 1)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": 3, "version": 1}'])
def test_a_damaged_manifest_is_told(root: Path, content: str) -> None:
    (root / "tiny" / "1" / MANIFEST).write_text(content)
    with pytest.raises(ArtifactError, match=r"is damaged: .*; export the checkpoint again"):
        Repository(root).folder("tiny", 1)


@pytest.mark.parametrize(
    ("name", "number"), [("1", 1), ("20", 20), ("0", None), ("01", None), ("+1", None), ("1" * 5000, None), ("²", None)]
)
def test_a_version_folder_is_called_after_its_number(name: str, number: int | None) -> None:
    assert version_number(name) == number


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_weights_that_a_graph_looks_for_outside_its_folder_are_not_read(tmp_path: Path, engine: EngineName) -> None:
    """Not by a link but by a path within the graph: the engines refuse that themselves."""
    if reason := why_not(engine):
        pytest.skip(reason)
    folder = write_repository(tmp_path, 1) / "tiny" / "1"
    graph = onnx.load(folder / "model.onnx")
    (weight,) = [each for each in graph.graph.initializer if each.name == "sides"]
    for place, refused in (("weights.bin", False), ("../weights.bin", True), (str(tmp_path / "weights.bin"), True)):
        (folder / place).write_bytes(weight.raw_data)
        moved = onnx.ModelProto.FromString(graph.SerializeToString())
        (tensor,) = [each for each in moved.graph.initializer if each.name == "sides"]
        set_external_data(tensor, place, offset=0, length=len(weight.raw_data))
        tensor.ClearField("raw_data")
        (folder / "model.onnx").write_bytes(moved.SerializeToString())
        artifact = read_artifact(write_artifact(with_digest(folder), folder).parent)
        way = Way(engine, "float32", artifact.files[0])
        if refused:
            with pytest.raises(ArtifactError, match=r"cannot be loaded: .*outside|cannot be loaded: .*External data"):
                open_engine(folder, artifact, way, 1)
        else:
            open_engine(folder, artifact, way, 1)


def with_digest(folder: Path) -> Artifact:
    """The manifest for the graph as it is now: this damage is one that was meant."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Artifact)
    entry = replace(manifest.files[0], sha256=file_sha256(folder / "model.onnx"))
    return replace(manifest, files=[entry])
