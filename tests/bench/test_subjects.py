"""What is timed, by which name, and which rows it is asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.subjects import (
    DRAWING_THRESHOLD,
    Subject,
    load_segmenter,
    open_runner,
    parse_subjects,
    score_threshold,
    those_that_run,
)
from model.detect import DetectSettings
from scene.errors import ConfigurationError
from scene.image import decode_image
from tests.export.conftest import Published
from tests.serve.tiny_model import write_tiny_model

COMMON = Subject("", "onnxruntime")


def test_nothing_of_that_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match="expected a model folder, a checkpoint or a preset"):
        parse_subjects(("nothing-there",), ("torch",), (1,), COMMON)


def test_names_say_what_differs_and_torch_has_one_kind_of_rows() -> None:
    subjects = parse_subjects(("street-nano",), ("onnxruntime", "torch"), (1, 4), COMMON, ("drawn", "every"))
    assert [subject.name.removeprefix("street-nano/") for subject in subjects] == [
        "onnxruntime",
        "onnxruntime/every-row",
        "onnxruntime/b4",
        "onnxruntime/b4/every-row",
        "torch",
        "torch/b4",
    ]
    forced = parse_subjects(("street-nano",), ("onnxruntime",), (1,), replace(COMMON, instances=9), ("drawn", "every"))
    assert [subject.name for subject in forced] == ["street-nano/onnxruntime"]


def test_a_graph_is_asked_for_what_is_drawn_for_every_row_or_for_those_that_are_forced() -> None:
    drawn = replace(COMMON, target="street-nano")
    assert score_threshold(drawn) == np.nextafter(np.float32(DRAWING_THRESHOLD), np.float32(0))
    assert score_threshold(replace(drawn, rows="every")) == 0
    assert score_threshold(replace(drawn, instances=9)) == 0


def test_what_a_folder_has_no_file_for_is_named_and_the_others_are_left(tmp_path: Path) -> None:
    folder = str(write_tiny_model(tmp_path / "tiny" / "3"))
    here, left_out = those_that_run(parse_subjects((folder,), ("onnxruntime", "onnxruntime-int8"), (1,), COMMON))
    assert [subject.engine for subject in here] == ["onnxruntime"]
    assert left_out == {f"{folder}/onnxruntime-int8": "no file for onnxruntime in int8; there are onnx float32"}
    forced = parse_subjects((folder,), ("onnxruntime-int8",), (1,), replace(COMMON, instances=3))
    assert those_that_run(forced) == (forced, {}), "a graph is written for it"


@pytest.mark.parametrize(
    ("engine", "folded", "dtype"),
    [
        ("torch-plain", False, torch.float32),
        ("torch", True, torch.float32),
        ("torch-bfloat16", True, torch.bfloat16),
        ("torch-float16", True, torch.float16),
        ("torch-compile", True, torch.float32),
    ],
)
def test_what_a_torch_engine_runs(published: Published, engine: str, folded: bool, dtype: torch.dtype) -> None:
    backbone = load_segmenter(str(published.folder), DetectSettings(), engine).network.backbone
    assert any("running_mean" in name for name in backbone.state_dict()) is not folded
    stem = backbone.state_dict()["conv1.weight"]
    assert stem.dtype == dtype
    assert stem.is_contiguous(memory_format=torch.channels_last if folded else torch.contiguous_format)


def test_the_rows_of_a_folder_that_are_drawn_are_among_all_of_them(published: Published) -> None:
    golden: Path = published.folder / published.artifact.golden.path
    frames = [decode_image(golden.read_bytes())]
    drawn, every = (
        open_runner(replace(COMMON, target=str(published.folder), rows=rows)).run(frames) for rows in ("drawn", "every")
    )
    least = min(published.artifact.thresholds)
    assert len(drawn.rows[0]) == (every.rows[0].scores >= np.float32(least)).sum() < len(every.rows[0])
    assert drawn.pasted == every.pasted
