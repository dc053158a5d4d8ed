"""What a server begins with, told from one path."""

from pathlib import Path

import pytest

from scene.errors import ArtifactError, ConfigurationError
from serve.deployment import Deployment
from serve.repository import Repository
from serve.settings import ServerSettings
from serve.start import Start, find_models
from tests.serve.repository_server import write_repository
from tests.serve.tiny_model import write_tiny_model


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_repository(tmp_path / "models", 1, 3, name="other")
    return write_repository(tmp_path / "models", 1, 2)


def pins(*pins: str) -> ServerSettings:
    return ServerSettings(pin=pins)


def test_an_empty_folder_or_none_is_told_with_what_was_expected(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ArtifactError, match=r"expected a model folder with artifact.json at .*, found none"):
            find_models(path, ServerSettings())


def test_a_versions_folder_is_that_version_alone(root: Path) -> None:
    start = find_models(root / "tiny" / "1", ServerSettings())
    assert start.repository.root == root
    assert (start.wanted, start.name) == ([Deployment("tiny", 1)], "tiny")


def test_a_path_from_within_is_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "tiny" / "1")
    assert find_models(Path(), ServerSettings()).wanted == [Deployment("tiny", 1)]
    assert find_models(Path(".."), ServerSettings()).wanted == [Deployment("tiny", 2)]


def test_a_models_folder_is_its_newest_version(root: Path) -> None:
    start = find_models(root / "tiny", ServerSettings())
    assert start.repository.root == root
    assert (start.wanted, start.name) == ([Deployment("tiny", 2)], "tiny")


def test_a_repository_is_the_newest_version_of_every_name(root: Path) -> None:
    start = find_models(root, ServerSettings())
    assert start.repository.root == root
    assert (start.wanted, start.name) == ([Deployment("other", 3), Deployment("tiny", 2)], "")


def test_the_first_name_is_the_default_wherever_its_version_is_pinned(root: Path) -> None:
    assert Start(Repository(root), []).default == ""
    assert find_models(root / "tiny", ServerSettings()).default == "tiny"
    assert find_models(root, ServerSettings()).default == "other"
    assert find_models(root, pins("other=3")).default == "other"


def test_pinned_versions_are_loaded_instead_side_by_side_and_in_order(root: Path) -> None:
    assert find_models(root, pins("tiny=2", "tiny=1")).wanted == [
        Deployment("other", 3),
        Deployment("tiny", 2, keep_others=True),
        Deployment("tiny", 1, keep_others=True),
    ]
    assert find_models(root / "tiny", pins("tiny=1")).wanted == [Deployment("tiny", 1, keep_others=True)]


@pytest.mark.parametrize(
    ("below", "pin", "sentence"),
    [
        ("", "tiny", "pin: expected NAME=VERSION, but 'tiny' came"),
        ("", "tiny=0", "pin: expected NAME=VERSION, but 'tiny=0' came"),
        ("", "../tiny=1", "model_name: expected a folder's plain name"),
        ("", "huge=1", r"pin: expected a model that is served \(other, tiny\), but 'huge' came"),
        ("tiny", "other=1", r"pin: expected a model that is served \(tiny\), but 'other' came"),
        ("tiny/1", "tiny=2", "pin: expected none for a folder NAME/VERSION"),
    ],
)
def test_a_pin_that_cannot_be_is_told(root: Path, below: str, pin: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        find_models(root / below, pins(pin))


def test_a_version_that_lies_elsewhere_than_it_says_is_told_where_it_belongs(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "my-model")
    with pytest.raises(ArtifactError, match=r"my-model holds tiny version 3, but is not called so; move it to tiny/3"):
        find_models(folder, ServerSettings())


def test_a_hidden_folder_is_no_model(tmp_path: Path) -> None:
    root = write_repository(tmp_path / ".models", 1)
    assert find_models(root, ServerSettings()).wanted == [Deployment("tiny", 1)]
