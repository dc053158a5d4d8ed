"""What a graph for a run is made from, and what is told of one that cannot be made."""

from pathlib import Path

import pytest

from bench.engine_names import Form
from bench.graphs import GraphWriter, Written, source_of, write_graphs
from bench.subjects import Subject


def test_what_torch_writes_has_no_source_and_int8_is_made_of_the_same_graph_in_float32() -> None:
    assert source_of(Form("onnx", "float32")) is None
    assert source_of(Form("onnx", "float16", fixed_rows=True)) is None
    assert source_of(Form("onnx", "int8")) == Form("onnx", "float32")


def test_a_plan_is_made_of_a_graph_with_the_operator_that_its_parser_has() -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt_rtx")
    plan = Form("tensorrt-rtx", "float16", fixed_rows=True, batch=4)
    assert source_of(plan) == Form("onnx", "float16", fixed_rows=True, lowering="GridSample")


def test_weights_that_cannot_be_read_are_told_by_the_subjects_name_and_the_others_go_on(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no weights")
    subjects = [Subject(str(broken), "onnxruntime"), Subject(str(broken), "torch")]
    ready, errors = write_graphs(subjects, GraphWriter(tmp_path / "graphs"))
    assert [subject.engine for subject in ready] == ["torch"]
    assert list(errors) == [f"{broken}/onnxruntime"]
    assert str(broken) in errors[f"{broken}/onnxruntime"]


def test_a_form_is_written_once(tmp_path: Path) -> None:
    writer, form = GraphWriter(tmp_path), Form("onnx", "float32")
    (tmp_path / "model.onnx").write_bytes(b"123")
    written = Written(tmp_path, "model.onnx", 1.0, 2)
    writer.written["street-nano", form] = written
    ready, errors = write_graphs([Subject("street-nano", "openvino"), Subject("street-nano", "onnxruntime")], writer)
    assert errors == {}
    assert [subject.graph for subject in ready] == [tmp_path, tmp_path]
    assert written.size_bytes == 3
