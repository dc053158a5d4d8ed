"""AP and time of decoding at reduced scale, by the command and on the page."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.decode import WAYS, lines
from bench.table import page
from scene.image import reduction
from tests.bench.test_compare import run_document
from tests.export.conftest import Published
from tests.model.tiny_network import TINY
from training.data.synthetic import SceneSettings, write_dataset

HEIGHT, WIDTH = (3 * side for side in TINY.size_hw)


def decode_document() -> dict[str, Any]:
    change = {"points": -0.125, "low": -0.5, "high": 0.25}
    row = {"decode_ms": {"median": 3.0}, "time_over_full": 0.75, "samples_decode_ms": [3.0]}
    row |= {kind: {"ap": 0.25, "change": change} for kind in ("box", "mask")}
    found = {"images": 9, "sizes_hw": [[720, 1280]], "scales_by_rule": {"1": 9}, "data_sha256": "abc"}
    run = run_document("decode", decode={"scenes": {**found, "ways": {way: copy.deepcopy(row) for way in WAYS}}})
    run["machine"] |= {"python": "3.11.7", "commit": "abc", "system": "Linux"}
    run["settings"] = {"target": "m", "runs_on": "OpenVINO", "network_hw": [384, 768], "kept_over_input": 1.5}
    run["settings"]["resamples"] = 200
    return run


def test_no_set_is_refused(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", str(published.folder), "--data"]) == 1
    assert "expected one data set at least" in capsys.readouterr().err


def test_pictures_that_are_no_jpeg_files_are_refused(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", str(published.folder), "--data", f"boxes={published.data}", "--threads", "1"]) == 1
    assert "is no JPEG file; measure on a set of such" in capsys.readouterr().err


def test_every_scale_and_the_rule_are_measured(published: Published, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "scenes", 3, 5, SceneSettings(HEIGHT, WIDTH))
    words = ["decode", str(published.folder), "--data", f"scenes={data}", "--threads", "1", "--resamples", "40"]
    assert main([*words, "--first", "2", "--out", str(tmp_path / "run.json")]) == 0
    report = json.loads((tmp_path / "run.json").read_text())
    found = report["decode"]["scenes"]
    assert (found["images"], found["sizes_hw"]) == (2, [[HEIGHT, WIDTH]])
    assert found["scales_by_rule"] == {str(reduction((HEIGHT, WIDTH), TINY.size_hw)): 2} == {"2": 2}
    assert list(found["ways"]) == list(WAYS)
    assert found["ways"]["by the rule"] == found["ways"]["1/2"] != found["ways"]["1/8"]
    for kind in ("box", "mask"):
        assert found["ways"]["full"][kind]["change"] == {"points": 0, "low": 0, "high": 0}
        for row in found["ways"].values():
            points = 100 * (row[kind]["ap"] - found["ways"]["full"][kind]["ap"])
            assert row[kind]["change"]["points"] == pytest.approx(points)
    assert all(len(row["samples_decode_ms"]) == 2 for row in found["ways"].values())


def test_the_page_and_the_screen_show_each_way() -> None:
    text = page([decode_document()])
    assert "## Decoding at reduced scale" in text
    cells = "-0.12 (-0.50 to +0.25) | -0.12 (-0.50 to +0.25)"
    assert f"| 9 of scenes | 1280x720 | 1/4 | 3.00 | 0.75 | 25.00 | 25.00 | {cells} |" in text
    assert "`m` on OpenVINO, whose input is 768x384; the rule keeps 1.5 times that at least; 200 draws." in text
    assert sum("scenes" in line and "3.00" in line for line in lines(decode_document())) == len(WAYS)


def test_two_runs_are_compared_by_their_ap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = decode_document(), decode_document()
    b["decode"]["scenes"]["ways"]["by the rule"]["mask"]["ap"] = 0.23
    for name, run in (("a", a), ("b", b)):
        (tmp_path / name).write_text(json.dumps(run))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("worse")]
    assert told == ["worse      by the rule mask AP on scenes: -2.00 points, on the same pictures"]
