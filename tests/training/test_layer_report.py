import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.model.tiny_network import seeded_network
from training.charts import COLOURS
from training.convolutions import convolutions
from training.layer_difference import LayerDifference, NotComparable, PairDifferences
from training.layer_report import draw, page, pair_names, table, text, write

NAMES = convolutions(seeded_network().state_dict())


def pair(base: str, tuned: str, difference: float = 0.25, absent: int = 0) -> PairDifferences:
    """Layers that move twice as far each time, from 1 / 2 ** 40; the last ``absent`` cannot be compared."""
    layers, others = [], []
    for index, name in enumerate(NAMES, 1):
        part = name.partition(".")[0]
        if index > len(NAMES) - absent:
            others.append(NotComparable(index, name, part, f"not in {base}"))
        else:
            layers.append(LayerDifference(index, name, part, difference * 2.0 ** (index - len(NAMES)), 10 * index))
    return PairDifferences(Path(base), Path(tuned), tuple(layers), tuple(others), ("3 pictures",), 5)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([("a.pt", "b.pt")], ["a.pt:b.pt"]),
        ([("runs/one/last.pt", "runs/two/last.pt")], ["one/last.pt:two/last.pt"]),
        ([("last.pt", "runs/last.pt")], ["last.pt:runs/last.pt"]),
        ([("/a/x/1.pt", "/a/y/1.pt"), ("/a/x/1.pt", "/b/y/1.pt")], ["x/1.pt:a/y/1.pt", "x/1.pt:b/y/1.pt"]),
    ],
)
def test_names_are_as_long_as_tells_them_apart(paths: list[tuple[str, str]], names: list[str]) -> None:
    assert pair_names([pair(*each) for each in paths]) == names


def test_a_row_a_convolution_a_column_a_pair_and_means_by_part() -> None:
    header, first, *rest = table([pair("a.pt", "b.pt", 2.0), pair("c.pt", "d.pt", absent=5)])
    assert header == ["", "convolution", "weights", "(1)", "(2)"]
    assert first == ["1", "backbone.conv1", "10", "3.64e-12", "4.55e-13"]
    assert rest[33] == ["35", "prediction_layers.0.mask_layer", "350", "0.0625", "0.00781"]
    assert rest[34] == ["36", "maskiou_net.maskiou_net.0", "360", "0.125", "-"]
    assert rest[38] == ["40", "semantic_seg_conv", "400", "2", "-"]
    assert rest[41] == ["", "mean of proto_net", "", f"{(2 + 4 + 8) / 2**11 / 3:.3g}", f"{(2 + 4 + 8) / 2**14 / 3:.3g}"]
    assert rest[-1] == ["", "mean of semantic_seg_conv", "", "2", "-"]
    assert len(rest) == 39 + 6


def test_a_layer_that_no_pair_can_compare() -> None:
    *_, last = [row for row in table([pair("a.pt", "b.pt", absent=1)]) if row[0]]
    assert last == ["40", "semantic_seg_conv", "-", "-"]


def test_the_text_says_all_of_it_in_columns() -> None:
    lines = text([pair("a.pt", "b.pt", 2.0), pair("c.pt", "d.pt", absent=5)]).splitlines()
    assert lines[:2] == ["(1) a.pt:b.pt", "(2) c.pt:d.pt"]
    assert lines[2].split() == ["convolution", "weights", "(1)", "(2)"]
    assert len({len(line) for line in lines[2:43]}) == 1
    assert lines[-5] == ("(2) not comparable, not in c.pt: 4 x maskiou_net.maskiou_net.*, semantic_seg_conv")
    assert lines[-4].startswith("(1) freeze the first 19, with `--freeze-first 19`: up to backbone.layers.3.0.conv2 ")
    assert lines[-2].startswith("Of the starts for 3 pictures, which the files tell by name alone, c.pt moved ")
    assert lines[-1].startswith("These are hypotheses: a sweep of trainings with --freeze-first 0, 5, 10, ...")


def test_the_page_has_the_picture_and_a_whole_table() -> None:
    lines = page([pair("a.pt", "b.pt")], "layers.png").splitlines()
    assert lines[0] == "# Layer differences"
    assert any(line.endswith("(layers.png)") for line in lines)
    assert "- (1) a.pt:b.pt" in lines
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 2 + 40 + 6
    assert {row.count("|") for row in rows} == {5}


def test_what_is_written(tmp_path: Path) -> None:
    pairs = [pair("a.pt", "b.pt", 0.5), pair("c.pt", "d.pt", absent=5)]
    assert write(pairs, tmp_path / "deeper") == [
        tmp_path / "deeper" / f"layers.{kind}" for kind in ("json", "md", "png")
    ]
    content = json.loads((tmp_path / "deeper/layers.json").read_text())
    first, second = content["pairs"]
    assert (first["name"], first["base"], first["tuned"], first["steps"]) == ("a.pt:b.pt", "a.pt", "b.pt", 5)
    assert first["layers"][0] == {
        **{"index": 1, "name": "backbone.conv1", "part": "backbone", "weights": 10, "difference": 2.0**-40},
    }
    assert first["suggestion"]["first"] == 19
    assert [each["name"] for each in second["not_comparable"]] == list(NAMES[-5:])
    assert list(second["means"]) == ["backbone", "fpn", "proto_net", "prediction_layers"]
    assert content["starts"][0]["means"][0][0] == 1
    assert content["note"].startswith("These are hypotheses")
    assert (tmp_path / "deeper/layers.md").read_text() == page(pairs, "layers.png")


def coloured(path: Path, colour: str) -> NDArray[np.bool_]:
    """Where a picture has a colour, nearly."""
    picture = cv2.imread(str(path))
    assert picture is not None
    wanted = [int(colour[start : start + 2], 16) for start in (5, 3, 1)]
    found: NDArray[np.bool_] = np.all(np.abs(picture.astype(int) - wanted) < 10, axis=2)
    return found


@pytest.mark.parametrize("difference", [0.25, 0.0], ids=["all moved", "one moved"])
def test_every_pair_has_its_curve_as_far_as_it_can_be_compared(tmp_path: Path, difference: float) -> None:
    pairs = [pair("a.pt", "b.pt"), pair("c.pt", "d.pt", difference, absent=20)]
    draw(pairs, tmp_path / "layers.png")
    one, other = (coloured(tmp_path / "layers.png", colour) for colour in COLOURS[:2])
    legend = one.shape[0] * 6 // 7
    curves = [np.flatnonzero(each[:legend].any(axis=0)) for each in (one, other)]
    assert curves[1][-1] < curves[0][-1] * 0.6
    assert all(each[legend:].any() for each in (one, other)), "the legend below names both"


def test_many_pairs_keep_the_height_of_their_curves_and_lines_of_their_own(tmp_path: Path) -> None:
    """The first colour comes again for the ninth, dashed, as the legend shows."""
    few, many = [[pair(f"{n}.pt", "tuned.pt", 0.5**n) for n in range(count)] for count in (2, 16)]
    heights = []
    for pairs, name in ((few, "few.png"), (many, "many.png")):
        draw(pairs, tmp_path / name)
        first = coloured(tmp_path / name, COLOURS[0])
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        frame = np.flatnonzero(np.all(picture < 60, axis=2).mean(axis=1) > 0.5)
        heights.append(int(frame[-1]))
    assert heights[1] >= 0.95 * heights[0]
    samples = first[heights[1] + 60 :].sum(axis=1)
    lines = [samples[start:stop].sum() for start, stop in runs(samples > 0)]
    assert len(lines) == 2, "a line of the legend for each of the two"
    assert lines[1] < 0.9 * lines[0], "dashed"


def runs(rows: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where they begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(int)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def test_where_nothing_moved_the_curve_lies_at_nought(tmp_path: Path) -> None:
    draw([pair("a.pt", "b.pt", 0.0)], tmp_path / "layers.png")
    rows = np.flatnonzero(coloured(tmp_path / "layers.png", COLOURS[0])[:500].any(axis=1))
    assert np.ptp(rows) < 20
