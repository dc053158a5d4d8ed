"""Identity and flicker of answers that are made by hand, and one short run of the program."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.compare import changes
from bench.table import page
from bench.track_scores import Clip, Seen, detection_flicker, identity, mask_flicker, perfect, size_of
from bench.tracking import DROPS, followed, lines, scores
from scene.instances import Instance
from serve.answer import Answer, FoundInstance, MaskRegion, StageTimes
from tests.bench.test_table import engine_document
from training.data.synthetic import SceneInstance

SIZE_HW = (100, 200)
MODEL = Path(__file__).parents[2] / "models" / "street-nano" / "1"

Box = tuple[int, int, int, int]
LEFT, RIGHT = (10, 10, 30, 50), (110, 10, 130, 50)
"""20x40 pixels each: small ones."""


def label(track_id: int, xyxy: Box) -> SceneInstance:
    """An object that fills its box."""
    mask = np.ones((xyxy[3] - xyxy[1], xyxy[2] - xyxy[0]), np.bool_)
    return SceneInstance(2, mask, xyxy, mask.size, track_id)


def row(xyxy: Box, track_id: int | None = None) -> FoundInstance:
    x1, y1, x2, y2 = xyxy
    box = (float(x1), float(y1), float(x2), float(y2))
    region = MaskRegion.of(Instance(2, 0.9, 0.9, box, (x1, y1), np.ones((y2 - y1, x2 - x1), np.uint8)))
    return FoundInstance(2, "car", 0.9, 0.9, box, region, track_id)


def seen(number: int, labels: dict[int, Box], *rows: FoundInstance, fps: float = 10.0) -> Seen:
    there = tuple(label(track_id, xyxy) for track_id, xyxy in labels.items())
    return Seen.of(number / fps, there, Answer("m", 1, SIZE_HW, rows, StageTimes()))


def named(*ids: tuple[int | None, int | None]) -> list[Seen]:
    """A clip of two objects that stand still, and are answered exactly with these ids."""
    truth = {1: LEFT, 2: RIGHT}
    return [seen(number, truth, row(LEFT, left), row(RIGHT, right)) for number, (left, right) in enumerate(ids)]


def test_a_clip_without_objects_and_answers_has_no_figures() -> None:
    found = identity({"a": [seen(0, {}), seen(1, {})]})["all"]
    assert [found[key] for key in ("idf1", "mota", "switches", "fragmentations")] == [None, None, 0, 0]
    assert found["switches_a_minute"] is None
    assert detection_flicker([])["small"] == {"between": 0, "missing": 0, "gone": 0}
    assert mask_flicker([[]])["large"] == {"pairs": 0, "change": None, "true_change": None, "flicker": None}


def test_ids_that_stay_are_perfect() -> None:
    row = identity({"a": named(*[(7, 9)] * 5)})["all"]
    assert (row["idf1"], row["mota"], row["switches"], row["fragmentations"], row["objects"]) == (1.0, 1.0, 0, 0, 2)
    assert row["found_minutes"] == pytest.approx(10 * 0.1 / 60)


def test_an_exchange_of_ids_is_two_switches() -> None:
    """Of eight answers each id is right in two of four frames; two switches among eight objects to find."""
    row = identity({"a": named((7, 9), (7, 9), (9, 7), (9, 7))})["all"]
    assert row["switches"] == 2
    assert row["idf1"] == pytest.approx(0.5)
    assert row["mota"] == pytest.approx(1 - 2 / 8)
    assert row["switches_a_minute"] == pytest.approx(2 / (8 * 0.1 / 60))


def test_a_row_without_an_id_counts_as_not_answered() -> None:
    row = identity({"a": named((7, 9), (None, 9), (7, 9))})["all"]
    assert (row["found"], row["switches"], row["fragmentations"]) == (5, 0, 1)
    assert row["mota"] == pytest.approx(1 - 1 / 6)
    assert row["idf1"] == pytest.approx(2 * 5 / (6 + 5))


def test_clips_are_judged_apart_and_together() -> None:
    report = identity({"good": named((7, 9), (7, 9)), "bad": named((7, 9), (9, 7))})
    assert [report[name]["switches"] for name in ("good", "bad", "all")] == [0, 2, 2]
    assert [report[name]["objects"] for name in ("good", "bad", "all")] == [2, 2, 4]
    assert report["good"]["idf1"] > report["all"]["idf1"] > report["bad"]["idf1"]


def test_an_answer_that_shows_too_little_of_an_object_is_a_false_one() -> None:
    half = (10, 10, 19, 50)
    found = identity({"a": [seen(number, {1: LEFT}, row(half, 7)) for number in range(2)]})["all"]
    assert (found["found"], found["precision"], found["mota"]) == (0, 0.0, -1.0)


def test_perfect_ids_are_those_of_what_is_shown() -> None:
    clip = named((7, 9), (9, 7), (None, None))
    clip[1] = seen(1, {1: LEFT, 2: RIGHT}, row(RIGHT, 3), row(LEFT, 4), row((60, 60, 80, 80), 5))
    ids = [[each.track_id for each in frame.answer.instances] for frame in perfect(clip)]
    assert ids[0] == ids[2] == [1, 2]
    assert ids[1][:2] == [2, 1]
    assert ids[1][2] not in (1, 2, None)
    assert identity({"a": perfect(clip)})["all"]["switches"] == 0


def test_missing_between_two_frames_is_flicker() -> None:
    truth = {1: LEFT, 2: RIGHT}
    clip = [seen(0, truth, row(LEFT), row(RIGHT)), seen(1, truth, row(LEFT)), seen(2, truth, row(LEFT), row(RIGHT))]
    assert detection_flicker([clip])["small"] == {"between": 2, "missing": 1, "gone": 1}


def test_an_object_that_is_shown_badly_is_missing_but_not_gone() -> None:
    clip = [seen(0, {1: LEFT}, row(LEFT)), seen(1, {1: LEFT}, row((10, 10, 18, 50))), seen(2, {1: LEFT}, row(LEFT))]
    assert detection_flicker([clip])["small"] == {"between": 1, "missing": 1, "gone": 0}


def test_an_object_that_leaves_or_is_never_found_is_no_flicker() -> None:
    gone = [seen(0, {1: LEFT}, row(LEFT)), seen(1, {}), seen(2, {1: LEFT}, row(LEFT))]
    never = [seen(number, {1: LEFT}) for number in range(3)]
    assert detection_flicker([gone, never])["small"] == {"between": 0, "missing": 0, "gone": 0}


def test_flicker_is_told_by_size() -> None:
    large = {1: (0, 0, 100, 100)}
    clip = [seen(0, large, row(large[1])), seen(1, large), seen(2, large, row(large[1]))]
    assert detection_flicker([clip])["large"]["missing"] == 1
    assert [size_of(area) for area in (1023, 1024, 9215, 9216)] == ["small", "medium", "medium", "large"]


def test_a_mask_that_moves_with_its_object_does_not_flicker() -> None:
    clip = [seen(number, {1: place}, row(place)) for number, place in enumerate([LEFT, (20, 10, 40, 50)])]
    found = mask_flicker([clip])["small"]
    assert found["change"] == found["true_change"] == pytest.approx(1 - 1 / 3)
    assert (found["pairs"], found["flicker"]) == (1, 0.0)


def test_a_mask_that_changes_on_an_object_that_stands_flickers() -> None:
    clip = [seen(0, {1: LEFT}, row(LEFT)), seen(1, {1: LEFT}, row((10, 10, 30, 40))), seen(2, {1: LEFT}, row(LEFT))]
    found = mask_flicker([clip])["small"]
    assert found == {"pairs": 2, "change": pytest.approx(0.25), "true_change": 0.0, "flicker": pytest.approx(0.25)}


def still_clip(frames: int = 12) -> Clip:
    """Two objects that stand still; the right one is not answered in frame 5."""
    truth = {1: LEFT, 2: RIGHT}
    whole = [row(LEFT), row(RIGHT)]
    return [seen(number, truth, *(whole[:1] if number == 5 else whole)) for number in range(frames)]


def test_the_tracker_names_all_but_the_first_frame() -> None:
    spent_ms: list[float] = []
    ids = [[each.track_id for each in frame.answer.instances] for frame in followed(still_clip(), spent_ms)]
    assert ids[0] == [None, None]
    assert ids[1:5] == ids[6:10] == [[1, 2]] * 4
    assert len(spent_ms) == 12


def test_scores_hold_every_way_of_dropping_and_every_clip() -> None:
    found = scores({"1": still_clip(), "2": still_clip(6)})
    assert found["identity"].keys() == DROPS.keys()
    assert all(clips.keys() == {"1", "2", "all"} for clips in found["identity"].values())
    none, half = (found["identity"][name]["1"] for name in ("none", "every second"))
    assert (none["found"], none["switches"], none["fragmentations"]) == (2 * 11 - 1, 0, 1)
    assert half["found"] == 2 * 5
    assert none["idf1"] < none["idf1_of_perfect_ids"] < 1
    answered, tracked = (found["flicker"]["all"][kind]["small"] for kind in ("answered", "tracked"))
    assert answered == {"between": (2 * 10 - 2) + (2 * 4 - 1), "missing": 1, "gone": 1}
    assert tracked["between"] == (2 * 9 - 2) + (2 * 3 - 1)  # the first frame has no ids
    assert found["flicker"]["2"]["masks"]["small"]["flicker"] == 0.0
    assert found["tracker_ms"]["count"] == len(found["samples_tracker_ms"]) == 12 + 6 + 6 + 3 + 8 + 4 + 4 + 2


def track_document(switched: bool = False) -> dict[str, Any]:
    run = engine_document() | {"kind": "track"} | scores({"1": still_clip()})
    if switched:
        run["identity"]["none"]["all"]["idf1"] -= 0.05
    run["settings"] |= {"folder": "m", "runs_on": "onnx", "clips": 1, "seconds": 1.2, "fps": 10.0, "seed": 1}
    run["settings"]["size"] = "200x100"
    return run


def test_the_page_shows_identity_by_drops_and_by_clip_and_flicker_by_size() -> None:
    text = page([track_document()])
    assert "## Tracking" in text
    row = next(line for line in text.splitlines() if line.startswith("| none |"))
    assert [cell.strip() for cell in row.strip("|").split("|")][4:] == ["87.5", "2", "0", "0.00", "1"]
    assert next(line for line in text.splitlines() if line.startswith("| 1 |")) == row.replace("none", "1")
    assert "| small | 5.6 | 5.6 | 18 | 6.2 | 16 | 0.0 | 0.0 | 0.0 |" in text
    assert "| large |  |  | 0 |  | 0 |  |  |  |" in text


def test_the_screen_shows_the_same() -> None:
    text = "\n".join(lines(track_document()))
    assert "5.6 of 18" in text
    assert "two of three" in text


def test_fewer_right_ids_are_a_change_for_the_worse() -> None:
    found = list(changes(track_document(), track_document(switched=True), 0.95))
    assert [round(change.points, 6) for change in found] == [-5.0, 0.0, 0.0, 0.0]
    assert "on the same clips" in str(found[0])


@pytest.mark.parametrize(("word", "value"), [("--clips", "0"), ("--fps", "0"), ("--seconds", "-1"), ("--size", "big")])
def test_settings_out_of_range_are_refused(word: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", str(MODEL), word, value]) == 1
    assert "expected" in capsys.readouterr().err


def test_a_short_drive_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--clips", "1", "--seconds", "0.8", "--fps", "10", "--size", "640x360", "--seed", "50002"]
    out = tmp_path / "track.json"
    assert main(["track", str(MODEL), *short, "--threads", "1", "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["kind"] == "track"
    assert "samples_tracker_ms" not in printed
    assert printed["identity"]["none"]["50002"] == printed["identity"]["none"]["all"]
    assert printed["identity"]["none"]["all"]["found"] > 0
    assert json.loads(out.read_text())["tracker_ms"]["count"] == 8 + 4 + 6 + 3
    assert main(["table", str(out), "--out", str(tmp_path / "page.md")]) == 0
    assert "| 50002 |" in (tmp_path / "page.md").read_text()
