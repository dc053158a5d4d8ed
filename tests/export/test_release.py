import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import export.release
from export.publish import Accept, Publication
from export.release import fall
from export.verify import Report
from scene.artifact import Artifact, read_artifact, write_artifact
from serve.admin_client import AdminClient
from streetmask.cli import main
from tests.export.conftest import Published
from tests.serve.repository_server import serving, settings, write_repository


def released(published: Published, models: Path, *words: object) -> int:
    return main([str(word) for word in ("release", published.checkpoint, "--models", models, "--name", "tiny", *words)])


@pytest.fixture
def copied(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing what is published already, without making it anew; the last word is asked as ever."""

    def publish(_: Path, out: Path, __: Publication, accept: Accept) -> Artifact:
        artifact = replace(published.artifact, version=int(out.name))
        artifact = accept(artifact, Report(artifact.verified, scored_on="rectangles", scored_pictures=3))
        shutil.copytree(published.folder, out)
        write_artifact(artifact, out)
        return artifact

    monkeypatch.setattr(export.release, "publish", publish)


def scores(monkeypatch: pytest.MonkeyPatch, box: float, mask: float) -> None:
    """The published version's figures on the same pictures."""
    monkeypatch.setattr(export.release, "_score", lambda *_: {"box": box, "mask": mask})


def new_scores(published: Published) -> dict[str, float]:
    figures = published.artifact.verified[0].figures
    return {kind: figures[f"{kind}_ap"] for kind in ("box", "mask")}


@pytest.mark.parametrize("name", ["", "a:b", ".x", "a/b", "a\\b", "..", "a\nb", "x" * 200])
def test_a_name_that_no_server_takes_is_refused_before_anything_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    def publish(*_: object) -> None:
        raise AssertionError("the export has begun")

    monkeypatch.setattr(export.release, "publish", publish)
    words = ("release", str(tmp_path / "none.pt"), "--models", str(tmp_path), "--name", name)
    assert main(list(words)) != 0
    assert "name: expected the name of a folder in --models that a server takes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_next_number_follows_the_highest_version_and_takes_no_folders_place(
    published: Published, copied: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("latest", "3.partial", "007", "1"):
        (tmp_path / "tiny" / name).mkdir(parents=True)
    assert released(published, tmp_path) == 1
    assert f"{tmp_path / 'tiny' / '1'} is there, but has no manifest" in capsys.readouterr().err
    (tmp_path / "tiny" / "1").rmdir()
    assert released(published, tmp_path) == 0
    assert read_artifact(tmp_path / "tiny" / "1").version == 1


@pytest.mark.parametrize(
    ("new", "published", "sentence"),
    [
        ((30.0, 20.0), (30.5, 20.5), ""),
        ((40.0, 20.0), (30.0, 20.0), ""),
        ((30.0, 20.0), (30.6, 20.0), "box AP falls by 0.60 points, 0.5 allowed"),
        (
            (30.0, 20.0),
            (31.0, 22.0),
            "box AP falls by 1.00 points, 0.5 allowed, mask AP falls by 2.00 points, 0.5 allowed",
        ),
    ],
)
def test_a_fall_beyond_the_limit_is_told(
    new: tuple[float, float], published: tuple[float, float], sentence: str
) -> None:
    kinds = ("box", "mask")
    assert fall(dict(zip(kinds, new, strict=True)), dict(zip(kinds, published, strict=True)), 0.5) == sentence


def test_the_first_has_nothing_to_compare_with_and_the_next_is_compared_on_the_same_pictures(
    published: Published, copied: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same network twice, the second time really measured: the same AP to the last digit."""
    words = ("--data", f"rectangles={published.data}")
    assert released(published, tmp_path, *words) == 0
    assert "the first version of tiny: there is none to compare it with" in capsys.readouterr().out
    assert released(published, tmp_path, *words) == 0
    shown = capsys.readouterr().out
    assert f"released {tmp_path / 'tiny' / '2'}" in shown
    (compared,) = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    assert compared["published"] == pytest.approx(compared["new"], abs=1e-9)
    assert compared["new"] == new_scores(published)
    assert read_artifact(tmp_path / "tiny" / "2").version == 2


def test_a_fall_is_refused_with_nothing_written(
    published: Published,
    copied: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    released(published, tmp_path)
    new = new_scores(published)
    scores(monkeypatch, new["box"] + 0.7, new["mask"])
    assert released(published, tmp_path) == 1
    sentence = "box AP falls by 0.70 points, 0.5 allowed"
    assert f"{sentence}; nothing was written; --allow publishes it all the same" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["1"]
    assert released(published, tmp_path, "--largest-fall", 0.8) == 0
    assert released(published, tmp_path, "--allow") == 0
    assert read_artifact(tmp_path / "tiny" / "3").verified[0].remarks[-1] == sentence
    assert sentence not in str(read_artifact(tmp_path / "tiny" / "2").verified)


def never(*_: object, **__: object) -> Artifact:
    raise AssertionError("exported, although it could be told before")


def test_other_classes_cannot_be_compared_which_is_told_before_anything_is_made(
    published: Published,
    copied: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    released(published, tmp_path)
    folder = tmp_path / "tiny" / "1"
    artifact = read_artifact(folder)
    write_artifact(replace(artifact, class_names=["tram", *artifact.class_names[1:]]), folder)
    with monkeypatch.context() as patched:
        patched.setattr(export.release, "publish", never)
        assert released(published, tmp_path) == 1
    assert "finds tram, rider, car" in (said := capsys.readouterr().err)
    assert "AP of other classes cannot be compared; release it under another name" in said
    assert released(published, tmp_path, "--allow") == 0
    assert "AP of other classes cannot be compared" in read_artifact(tmp_path / "tiny" / "2").verified[0].remarks[-1]


def test_a_broken_manifest_of_the_published_version_is_told_before_anything_is_made(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny" / "1").mkdir(parents=True)
    monkeypatch.setattr(export.release, "publish", never)
    assert released(published, tmp_path) == 1
    assert str(tmp_path / "tiny" / "1") in capsys.readouterr().err


def test_without_labels_nothing_can_be_compared(
    published: Published,
    copied: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    released(published, tmp_path)
    monkeypatch.setattr(export.release, "_figures", lambda _: {})
    assert released(published, tmp_path) == 1
    assert "no picture has labels of its classes; give --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--name", "a/b"), "name: expected the name of a folder in --models"),
        (("--largest-fall", "-1"), "--largest-fall: expected 0 or more"),
    ],
)
def test_what_cannot_be_released_is_told(
    published: Published, tmp_path: Path, words: tuple[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert released(published, tmp_path, *words) == 1
    assert sentence in capsys.readouterr().err


def test_a_released_version_is_deployed_at_once(
    published: Published, copied: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", f"rectangles={published.data}")
    assert released(published, tmp_path, *words) == 0
    with serving(tmp_path, settings()) as server:
        assert released(published, tmp_path, *words, "--deploy", server.address) == 0
        *_, before, last = capsys.readouterr().out.splitlines()
        assert before == f"released {tmp_path / 'tiny' / '2'}"
        assert last == f"tiny version 2 answers at {server.address}, on onnxruntime in float32"
        with AdminClient(server.address) as admin:
            assert [each.version for each in admin.models()] == [2]


def test_a_server_that_cannot_be_deployed_to_is_told_before_anything_is_made(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export.release, "publish", never)
    assert released(published, tmp_path, "--deploy", "127.0.0.1:1") == 1
    assert "the server 127.0.0.1:1 cannot be reached" in capsys.readouterr().err


def test_a_released_version_that_the_server_refuses_stays_published_and_the_server_as_it_was(
    published: Published, copied: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_repository(tmp_path / "elsewhere", 1, name="other")
    with serving(root, settings()) as server:
        assert released(published, tmp_path, "--deploy", server.address) == 1
        assert "streetmask: tiny version 1 is published, but not deployed: the server" in capsys.readouterr().err
        with AdminClient(server.address) as admin:
            assert [each.name for each in admin.models()] == ["other"]
    assert read_artifact(tmp_path / "tiny" / "1").version == 1


@pytest.mark.slow
def test_a_release_for_real_is_verified_and_compared_on_generated_scenes(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        assert released(published, tmp_path, "--verify-scenes", 2) == 0
        assert read_artifact(tmp_path / "tiny" / str(number)).version == number
    (compared,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert compared["published"] == pytest.approx(compared["new"], abs=1e-9)
