import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import export.verify_command
from export.verification_lines import lines, table
from export.verify import Report
from scene.artifact import Verification, write_artifact
from streetmask.cli import main
from tests.export.conftest import Published

FIGURES = {"pictures": 50, "matched": 99.951, "mask_iou": 0.99876, "box_ap_change": 0.0, "mask_ap_change": -0.014}
KEPT = Verification("model.onnx", "openvino", "float32", FIGURES | {"scores_largest": 2e-6})
BROKEN = Verification("model.int8.onnx", "openvino", "int8", {}, beyond=["box AP changes by -2.60 points, 1 allowed"])
OPEN = Verification("model.int8.onnx", "onnxruntime", "int8", {}, remarks=["no labels"], judged=False)


def test_of_nothing_the_table_is_its_heads() -> None:
    assert table([]) == ["file  engine  precision  pictures  matched  mask IoU  box AP  mask AP  score error  verdict"]


def test_each_record_is_a_row_and_what_was_not_compared_a_dash() -> None:
    rows = [line.split() for line in table([KEPT, BROKEN, OPEN])[1:]]
    figures = ["50", "99.95", "%", "0.9988", "+0.00", "-0.01", "2.0e-06"]
    assert rows[0] == ["model.onnx", "openvino", "float32", *figures, "kept"]
    assert rows[1] == ["model.int8.onnx", "openvino", "int8", *["-"] * 6, "beyond", "its", "limit"]
    assert rows[2] == ["model.int8.onnx", "onnxruntime", "int8", *["-"] * 6, "not", "judged"]


def test_remarks_what_is_absent_and_what_broke_follow_the_table() -> None:
    report = Report([KEPT, BROKEN, OPEN], {"model.plan on tensorrt in float16": "there is no GPU"}, "my streets", 100)
    assert lines(report)[4:] == [
        "AP on my streets",
        "model.int8.onnx on onnxruntime in int8: no labels",
        "not here: model.plan on tensorrt in float16: there is no GPU",
        "beyond its limit: model.int8.onnx on openvino in int8: box AP changes by -2.60 points, 1 allowed",
    ]


def test_the_command_ends_in_a_line_of_json(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", published.folder, "--scenes", 1, "--engines", "onnxruntime", "--data", f"mine={published.data}"]
    assert main([*map(str, words), "--first", "2", "--pictures", str(published.data.parent / "images")]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith("model.onnx  onnxruntime  float32    6") and line.endswith("kept") for line in shown)
    content: dict[str, Any] = json.loads(last)
    assert (content["scored_on"], content["beyond"]) == ("mine", [])
    (record,) = content["verified"]
    assert (record["file"], record["figures"]["pictures"], record["figures"]["matched"]) == ("model.onnx", 6, 100)


def test_a_broken_limit_is_the_exit_status(
    published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export.verify_command, "verify", lambda *_: Report([BROKEN]))
    assert main(["verify", str(published.folder)]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["beyond"] != []


def test_a_limit_that_the_manifest_says_is_broken_is_no_news(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(published.folder, tmp_path / "tiny"))
    write_artifact(replace(published.artifact, verified=[BROKEN]), folder)
    monkeypatch.setattr(export.verify_command, "verify", lambda *_: Report([BROKEN]))
    assert main(["verify", str(folder)]) == 0
    monkeypatch.setattr(export.verify_command, "verify", lambda *_: Report([replace(BROKEN, precision="float32")]))
    assert main(["verify", str(folder)]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["models/none/1"], "expected a model folder with artifact.json at models/none/1, found none"),
        (["FOLDER", "--scenes", "0"], "scenes: expected 1 or more where neither --data nor --pictures is given"),
        (["FOLDER", "--threads", "0"], "threads: expected 1 or more"),
        (["FOLDER", "--pictures", "nowhere"], "expected a folder of pictures at nowhere, found none"),
    ],
)
def test_what_cannot_be_verified_is_told(
    published: Published, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *(str(published.folder) if word == "FOLDER" else word for word in words)]) == 1
    assert sentence in capsys.readouterr().err


def test_a_changed_byte_is_told(published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in published.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    graph = bytearray((tmp_path / "model.onnx").read_bytes())
    graph[1000] ^= 1
    (tmp_path / "model.onnx").write_bytes(graph)
    assert main(["verify", str(tmp_path)]) == 1
    assert "model.onnx is damaged: its SHA-256 is not the one in artifact.json" in capsys.readouterr().err
