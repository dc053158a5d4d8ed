"""``streetmask evaluate`` of one network in its three forms. It lies here since two of them need torch."""

import json
from pathlib import Path
from typing import Any

import pytest

from streetmask.cli import main
from streetmask.server_process import server_process
from tests.export.conftest import Published
from tests.training.coco_on_disk import write_coco


def evaluated(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[list[str], dict[str, Any]]:
    """The table and what the last line holds."""
    _, table, figures = told(capsys, *words)
    return table, figures


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, list[str], dict[str, Any]]:
    """What it runs on, the table, and what the last line holds."""
    assert main(["evaluate", *map(str, words)]) == 0
    first, *table, last = capsys.readouterr().out.splitlines()
    return first, table, json.loads(last)


def test_nothing_to_find_is_told(published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = write_coco(tmp_path, (64, 128), 1, [])
    words = (published.folder, "--data", empty, "--threads", 1, "--engine", "onnxruntime")
    first, table, plain = told(capsys, *words)
    assert first == "runs on onnxruntime in float32"
    assert table[0].startswith("1 pictures, 0 instances; nothing to find of person, rider, car")
    assert [row.split() for row in table if row.startswith("all")] == [["all", *["-"] * 6], ["all", *["-"] * 8]]
    assert plain["mask"] == dict.fromkeys(("ap", "ap50", "ap75", "small", "medium", "large")) | {"by_class": {}}


def test_checkpoint_folder_and_server_are_measured_alike(
    published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    table, deployed = evaluated(capsys, published.folder, "--data", published.data)
    assert table[0].startswith("3 pictures, 3 instances; nothing to find of person, rider, truck")
    assert [row.split()[0] for row in table[1:]] == ["box", "car", "all", "mask", "car", "all"]
    with server_process(published.folder) as server:
        first, _, served = told(capsys, server.address, "--data", published.data)
    assert first == f"runs on the server {server.address}"
    assert served["mask"] == deployed["mask"]
    assert served["cityscapes"] == deployed["cityscapes"]
    first, _, in_torch = told(capsys, published.checkpoint, "--data", published.data, "--device", "cpu")
    assert first == "runs on torch in float32, on cpu"
    for kind in ("box", "mask", "cityscapes"):
        assert in_torch[kind]["ap50"] == pytest.approx(deployed[kind]["ap50"], abs=0.02)


def test_a_part_of_the_pictures_into_a_file(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    words = ["evaluate", published.folder, "--data", published.data, "--first", 2, "--classes", "street", "--json", out]
    assert main([str(word) for word in words]) == 0
    plain = json.loads(out.read_text())
    assert (plain["images"], plain["instances"]) == (2, 2)
    assert capsys.readouterr().out.splitlines()[-1].startswith("all")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["localhost:1", "--nms", "cross-class"], "nms: expected none for a server, whose model has its own"),
        (["localhost:1", "--preset", "yolact-im700"], "preset: expected none for a server"),
        (["nowhere.pt"], "nowhere.pt"),
        (["nowhere.pt", "--first", "0"], "first: expected 1 or more, but 0 came"),
    ],
)
def test_what_cannot_be_measured_is_told(
    published: Published, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words, "--data", str(published.data)]) == 1
    assert sentence in capsys.readouterr().err
