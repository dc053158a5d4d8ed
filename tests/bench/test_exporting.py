"""The table of preset, precision and engine, and the whole command with a tiny network."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.exporting import lines, parity_words
from bench.samples import totals
from tests.bench.test_compare import run_document
from tests.model.tiny_network import seeded_network
from training.checkpoint import save_checkpoint

ONE = {"ratio": 1.0, "low": 1.0, "high": 1.0}


def export_document() -> dict[str, Any]:
    """Float32 on two engines, of which one could not be compared, and two files."""
    base = {
        "summary_ms_a_frame": totals({"graph": [8.0, 9.0, 8.0]}),
        "graph_ratio_to_base": ONE,
        "file_bytes": 7 << 20,
        "host_peak_bytes": 200 << 20,
        "base": "m/onnxruntime",
        "parity": {"instances": 20, "matched": 0.995, "mask_iou": 0.99, "score_error": 0.002},
    }
    other = base | {"graph_ratio_to_base": {**ONE, "ratio": 0.5}, "parity": None}
    names = {"made_from": "the weights", "bytes": 7 << 20, "seconds": 12.5, "host_peak_bytes": 900 << 20}
    run = run_document("export", base="", subjects={"m/onnxruntime": base, "m/openvino": other})
    run["machine"] |= {"python": "3.11.7", "commit": "abc", "system": "Linux"}
    run["settings"] |= {"instances": 20, "scenes": 4, "threads": 2}
    left_out = {"m/tensorrt-float16": "no GPU here", "m/tensorrt-int8": "no GPU here"}
    return run | {"files": {"m": [{"name": "onnx float32", **names}]}, "left_out": left_out}


def test_nothing_compared_leaves_its_columns_empty() -> None:
    assert parity_words({}) == parity_words({"parity": None}) == ["", "", ""]
    words = parity_words({"parity": {"matched": None, "mask_iou": None, "score_error": 0.0}})
    assert words == ["", "", "0.0e+00"]


def test_the_table_names_what_was_not_measured() -> None:
    text = lines(export_document())
    words, files = text[1].split(), text[4].split()
    assert words == ["m/onnxruntime", "8.0", "1.000", "(1.000", "to", "1.000)", "7.0", "0.9950", "0.9900", "2.0e-03"]
    assert files == ["m", "onnx", "float32", "7.0", "12.5", "900"]
    assert text[-1] == "not measured: m/tensorrt-int8: no GPU here"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing-there"], "targets: expected a model folder, a checkpoint or a preset"),
        (["street-nano", "--engines", "torch"], "--engines: expected one or more that run a graph"),
        (["street-nano", "--engines", "caffe"], "--engines: expected onnxruntime, "),
        (["street-nano", "--rounds", "2"], "--rounds: expected 8 or more"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words]) == 1
    assert f"bench: {sentence}" in capsys.readouterr().err


@pytest.mark.slow
def test_every_form_is_written_weighed_timed_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the package openvino")
    pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt_rtx")
    checkpoint, out = tmp_path / "tiny.pt", tmp_path / "run.json"
    save_checkpoint(checkpoint, seeded_network())
    words = ["export", str(checkpoint), "--engines", "onnxruntime", "onnxruntime-int8", "openvino", "tensorrt-float16"]
    words += ["--plans", "8.9", "--instances", "7", "--scenes", "2", "--threads", "1", "--out", str(out)]
    assert main(words) == 0
    report = json.loads(out.read_text())
    assert report["errors"] == {}
    assert [name.rpartition("/")[2] for name in report["left_out"]] == ["tensorrt-float16"]
    subjects = {name.rpartition("/")[2]: row for name, row in report["subjects"].items()}
    assert list(subjects) == ["onnxruntime", "onnxruntime-int8", "openvino"]
    for name in ("onnxruntime", "openvino"):
        assert subjects[name]["parity"]["matched"] == 1
        assert subjects[name]["parity"]["score_error"] < 1e-4
    assert subjects["onnxruntime-int8"]["file_bytes"] < subjects["onnxruntime"]["file_bytes"]
    assert subjects["onnxruntime-int8"]["parity"]["score_error"] > 0
    files = {entry["name"]: entry for entry in report["files"][str(checkpoint)]}
    assert files["tensorrt-rtx float16 for 8.9"]["made_from"] == "onnx float16, fixed rows, GridSample"
    assert min(entry["bytes"] for entry in files.values()) > 1000
    assert min(entry["host_peak_bytes"] for entry in files.values()) > 1 << 20
