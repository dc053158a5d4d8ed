"""What the focal analysis prints, writes and draws."""

import json
from pathlib import Path

import cv2

from training.focal_analysis import Curve, FocalAnalysis, SideAnalysis
from training.focal_report import draw, lines, sentence, write

EVEN = Curve(0.0, (0.0, 1.0), (0.0, 1.0), (0.01, 0.05, 0.2))
STEEP = Curve(2.0, (0.0, 0.9, 1.0), (0.0, 0.1, 1.0), (0.5, 0.75, 0.9))


def analysis(positives: int = 300, *curves: Curve) -> FocalAnalysis:
    drawn = curves or (STEEP, EVEN)
    return FocalAnalysis("softmax", 4, SideAnalysis(12345, positives, drawn), SideAnalysis(99999, 5000, drawn))


def test_a_side_without_curves_is_an_empty_chart(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "positives", SideAnalysis(0, 0, ()))
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}) > 1


def test_the_table() -> None:
    told = list(lines(analysis()))
    assert told[0].startswith("4 pictures; p_t is, of an anchor, the softmax of its true class")
    assert told[1:3] == ["positives: 300 samples of 12,345", "negatives: 5,000 samples of 99,999"]
    assert [line.split()[-6:] for line in told[3:4]] == [["1", "%", "5", "%", "20", "%"]]
    assert [line.split() for line in told[4:8]] == [
        ["positives,", "gamma", "2", "50.0", "75.0", "90.0"],
        ["positives,", "gamma", "0", "1.0", "5.0", "20.0"],
        ["negatives,", "gamma", "2", "50.0", "75.0", "90.0"],
        ["negatives,", "gamma", "0", "1.0", "5.0", "20.0"],
    ]
    assert len({len(line) for line in told[3:8]}) == 1
    assert told[8:] == [sentence(analysis())]


def test_the_sentence() -> None:
    assert sentence(analysis()) == (
        "With gamma 2 instead of 0 the hardest 1 % of the negatives carry 50.0 % instead of 1.0 % of their loss, and "
        "of the positives 50.0 % instead of 1.0 %."
    )
    assert sentence(analysis(300, STEEP)) == (
        "With gamma 2 the hardest 1 % of the negatives carry 50.0 % of their loss, and of the positives 50.0 %."
    )


def test_a_hundredth_of_too_few_is_told() -> None:
    assert sentence(analysis(99)).endswith(". Of 99 positives that is less than one: take more pictures.")


def test_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "out", analysis(), seed=3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "focal-negatives.png", "focal-positives.png", "focal.json",
    ]  # fmt: skip
    plain = json.loads((tmp_path / "out" / "focal.json").read_text())
    assert (plain["seed"], plain["scoring"], plain["pictures"]) == (3, "softmax", 4)
    assert plain["positives"] == {
        "seen": 12345,
        "sampled": 300,
        "curves": [
            {
                "gamma": 2.0,
                "fractions": [0.0, 0.9, 1.0],
                "losses": [0.0, 0.1, 1.0],
                "hardest": {"0.01": 0.5, "0.05": 0.75, "0.2": 0.9},
            },
            {
                "gamma": 0.0,
                "fractions": [0.0, 1.0],
                "losses": [0.0, 1.0],
                "hardest": {"0.01": 0.01, "0.05": 0.05, "0.2": 0.2},
            },
        ],
    }


def test_another_curve_is_another_picture(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "positives", SideAnalysis(10, 10, (EVEN,)))
    draw(tmp_path / "b.png", "positives", SideAnalysis(10, 10, (STEEP,)))
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
