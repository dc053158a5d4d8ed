"""``streetmask export``, with what takes time left to the tests of publishing."""

from dataclasses import replace
from pathlib import Path

import pytest

import export.command
from export.command import ExportArguments
from export.publish import Accept, Publication
from export.verify import Report
from scene.artifact import Artifact
from scene.errors import ConfigurationError
from streetmask.cli import main
from tests.export.conftest import Published


@pytest.fixture
def asked(published: Published, monkeypatch: pytest.MonkeyPatch) -> list[Publication]:
    """What was to be published, while what is published already is answered, the last word asked as ever."""
    publications: list[Publication] = []

    def publish(_: Path, __: Path, publication: Publication, accept: Accept) -> Artifact:
        publications.append(publication)
        absent = {"model.plan on tensorrt in float16": "there is no GPU"}
        report = Report(published.artifact.verified, absent, scored_on="rectangles", scored_pictures=3)
        return accept(published.artifact, report)

    monkeypatch.setattr(export.command, "publish", publish)
    return publications


def test_a_checkpoint_alone_is_published_with_what_is_usual(published: Published, asked: list[Publication]) -> None:
    assert main(["export", str(published.checkpoint), "--out", "models/tiny/1"]) == 0
    assert replace(asked[0], summary="", licence="", limits="") == Publication("", "", "", plans=(), accuracy=[])


def test_it_says_what_was_verified_on_what_and_what_could_not_be(
    published: Published, asked: list[Publication], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(published.checkpoint), "--out", "models/tiny/1"]) == 0
    shown = capsys.readouterr().out
    assert "AP on rectangles" in shown
    assert "not here: model.plan on tensorrt in float16: there is no GPU" in shown
    assert "  rectangles: images: 3" in shown
    assert shown.endswith("wrote models/tiny/1\n")


def test_how_plans_and_eight_bits_are_made_can_be_said(published: Published, asked: list[Publication]) -> None:
    words = "--plan tensorrt-rtx:sm86:int8 --plan-batch 16 --plan-workspace 512 --ranges entropy --calibration street"
    assert main(["export", str(published.checkpoint), "--out", "models/tiny/1", *words.split()]) == 0
    publication = asked[0]
    assert (publication.plan_batch, publication.plan_workspace_mib) == (16, 512)
    assert (publication.ranges, publication.calibration) == ("entropy", Path("street"))


def test_what_would_be_ignored_is_told_before_anything_is_made(
    published: Published, asked: list[Publication], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("export", str(published.checkpoint), "--out", "models/tiny/1", "--calibration", "street")
    assert main(list(words)) == 1
    assert "calibration: expected none without --int8" in capsys.readouterr().err
    assert not asked


def test_a_repository_goes_with_tritons_layout() -> None:
    plain = ExportArguments(checkpoint=Path("last.pt"), out=Path("models/tiny/1"))
    with pytest.raises(ConfigurationError, match="repository: expected none without --layout triton, but 'mine' came"):
        replace(plain, repository=Path("mine"))
    assert replace(plain, repository=Path("mine"), layout="triton", triton_version="26.08").layout == "triton"
    with pytest.raises(ConfigurationError, match="triton_version: expected one with --layout triton alone"):
        replace(plain, triton_version="26.08")
