from pathlib import Path

import pytest
import tyro

from export.triton_command import ExportTritonArguments, export_triton
from tests.export.conftest import Published


def test_the_command_writes_a_repository_and_says_where(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        f"{published.folder} --repository {tmp_path} --triton-version 26.08 --device cpu --preferred-batch-sizes 2 4"
    )
    export_triton(tyro.cli(ExportTritonArguments, args=words.split()))
    assert capsys.readouterr().out == f"wrote {tmp_path / 'tiny'}\n"
    text = (tmp_path / "tiny" / "config.pbtxt").read_text()
    assert "preferred_batch_size: [ 2, 4 ]" in text
    assert "KIND_CPU" in text


def test_the_release_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(ExportTritonArguments, args=["model", "--repository", "models"])
    assert "--triton-version" in capsys.readouterr().err
