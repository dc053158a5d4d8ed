"""AP through the path that is timed, and its change against float32 torch."""

import json
from pathlib import Path

import pytest

from bench.accuracy import lines
from bench.cli import main
from bench.runners import Run, Runner
from bench.subjects import open_runner
from export.predictor import open_predictor
from scene.image import RgbImage
from streetmask.server_process import server_process
from tests.export.conftest import Published
from training.data.coco import CocoDataset
from training.evaluate import evaluate


def test_folder_checkpoint_and_server_are_scored_as_evaluation_scores_them(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server_process(published.folder) as server:
        words = ["accuracy", server.address, str(published.folder), "--data", f"boxes={published.data.parent}"]
        words += ["--engines", "onnxruntime"]
        assert main([*words, "--threads", "1", "--out", str(tmp_path / "run.json")]) == 0
    report = json.loads((tmp_path / "run.json").read_text())
    rows = {name: sets["boxes"] for name, sets in report["accuracy"].items()}
    folder = str(published.folder)
    assert list(rows) == [f"{folder}/torch", f"{folder}/onnxruntime", server.address]
    dataset = CocoDataset(published.data)
    expected = evaluate(open_predictor(published.folder).predict, dataset).as_dict()
    assert rows[f"{folder}/onnxruntime"]["mask"] == expected["mask"]
    assert rows[server.address]["mask"] == expected["mask"]
    assert rows[server.address]["box"]["ap"] == pytest.approx(expected["box"]["ap"], abs=1e-6)
    change = rows[f"{folder}/onnxruntime"]["change"]
    assert change["mask_ap"] == expected["mask"]["ap"] - rows[f"{folder}/torch"]["mask"]["ap"]
    assert rows[server.address]["change"]["mask_ap"] == pytest.approx(change["mask_ap"])
    assert "change" not in rows[f"{folder}/torch"]
    assert rows[f"{folder}/torch"]["source_sha256"] == published.artifact.files[0].sha256
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["kind"] == "accuracy"


def test_ctrl_c_keeps_the_pictures_that_were_answered(
    published: Published, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Interrupted:
        def __init__(self, runner: Runner) -> None:
            self._runner = runner

        def run(self, frames: list[RgbImage]) -> Run:
            asked.append(len(frames))
            if len(asked) == 6:  # three pictures in torch, then two of three in the graph
                raise KeyboardInterrupt
            return self._runner.run(frames)

    monkeypatch.setattr("bench.accuracy.open_runner", lambda subject: Interrupted(open_runner(subject)))
    words = ["accuracy", str(published.folder), "--data", f"boxes={published.data}", "--engines", "onnxruntime"]
    assert main([*words, "--threads", "1"]) == 130
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = {name.rpartition("/")[2]: sets["boxes"] for name, sets in report["accuracy"].items()}
    assert report["partial"]
    assert {name: row["images"] for name, row in rows.items()} == {"torch": 3, "onnxruntime": 2}
    assert "change" not in rows["onnxruntime"], "it saw other pictures than torch"


def test_no_target_and_no_picture_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "instances.json"
    empty.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert main(["accuracy", "nowhere", "--data", str(empty)]) == 1
    assert f"bench: {empty}" in capsys.readouterr().err
    assert main(["accuracy", "street-nano", "--data", str(tmp_path / "none.json")]) == 1
    assert "expected a data set" in capsys.readouterr().err


def test_weights_that_are_seeded_by_name_have_no_accuracy(
    published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["accuracy", "street-nano", "--data", str(published.data)]) == 1
    assert "expected trained weights" in capsys.readouterr().err
    twice = [f"a={published.data}", f"a={published.data}"]
    assert main(["accuracy", str(published.folder), "--data", *twice]) == 1
    assert "another name for each set" in capsys.readouterr().err


def test_the_table_shows_percents_and_changes() -> None:
    row = {"box": {"ap": 0.5}, "mask": {"ap": 0.25, "ap50": 0.4}, "cityscapes": {"ap": 0.2}}
    row |= {"change": {"mask_ap": -0.001}}
    nothing = {"box": {"ap": None}, "mask": {"ap": None, "ap50": None}, "cityscapes": {"ap": None}}
    (_, line, last) = lines({"accuracy": {"m/onnxruntime": {"set": row, "none": nothing}}, "left_out": {}})
    assert line.split() == ["m/onnxruntime", "set", "50.00", "25.00", "40.00", "20.00", "-0.100"]
    assert last.split() == ["m/onnxruntime", "none", "-", "-", "-", "-"]
