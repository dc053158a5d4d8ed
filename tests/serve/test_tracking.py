"""Ids that persist over a stream's frames, on objects that move by hand."""

import logging
import subprocess
import sys
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import ConfigurationError
from serve.answer import Answer, FoundInstance, StageTimes
from serve.tracking import LIFE_S, Tracker

ROOT = Path(__file__).parents[2]
SIZE_HW = (720, 1280)
FPS = 10.0

Box = tuple[float, float, float, float]


def box(x: float, y: float = 300.0, width: float = 60.0, height: float = 60.0) -> Box:
    return (x, y, x + width, y + height)


def answered(*found: tuple[str, Box], size_hw: tuple[int, int] = SIZE_HW) -> Answer:
    """An answer of instances by class name and box, whose scores fall as an answer's do."""
    instances = tuple(FoundInstance(0, name, 0.9 - 0.01 * row, 0.9, xyxy) for row, (name, xyxy) in enumerate(found))
    return Answer("tiny", 3, size_hw, instances, StageTimes())


def ids(answer: Answer) -> list[int | None]:
    return [each.track_id for each in answer.instances]


def seen_twice(*found: tuple[str, Box]) -> Tracker:
    """A tracker that knows these objects, which stand still; the next frame is that of 0.2 s."""
    tracker = Tracker()
    for number in range(2):
        tracker.update(answered(*found), number / FPS)
    return tracker


def test_an_answer_without_instances_stays_as_it_is() -> None:
    empty = answered()
    assert Tracker().update(empty) == empty
    assert Tracker().update(empty, 7.0) == empty


def test_an_object_has_an_id_from_its_second_frame_on() -> None:
    tracker = Tracker()
    assert [ids(tracker.update(answered(("car", box(10 * number))), number / FPS)) for number in range(4)] == [
        [None],
        [1],
        [1],
        [1],
    ]


def test_nothing_but_the_id_is_changed() -> None:
    answer = answered(("car", box(0)), ("person", box(500)))
    tracker = seen_twice(("car", box(0)), ("person", box(500)))
    named = tracker.update(answer, 0.2)
    assert ids(named) == [1, 2]
    assert replace(named, instances=tuple(replace(each, track_id=None) for each in named.instances)) == answer


def test_streams_count_for_themselves() -> None:
    assert [ids(seen_twice(("car", box(0))).update(answered(("car", box(0))), 0.2)) for _ in range(2)] == [[1], [1]]


def test_ids_stay_with_their_objects_whatever_the_order_of_rows() -> None:
    tracker = seen_twice(("car", box(0)), ("car", box(500)))
    assert ids(tracker.update(answered(("car", box(500)), ("car", box(0))), 0.2)) == [2, 1]


def test_two_that_pass_each_other_keep_their_ids() -> None:
    tracker, last = Tracker(), []
    for number in range(12):
        low, high = ("person", box(100 + 40 * number, y=300)), ("person", box(500 - 40 * number, y=350))
        last = ids(tracker.update(answered(low, high), number / FPS))
    assert last == [1, 2]


def fast(tracker: Tracker, frames: list[int], told: bool = True) -> list[int | None]:
    """The last frame's ids of a car that drives half its length a frame, where only these frames arrive."""
    found: list[int | None] = []
    for number in frames:
        found = ids(tracker.update(answered(("car", box(30.0 * number))), number / FPS if told else None))
    return found


def test_dropped_frames_break_no_id_as_the_time_that_passed_is_reckoned_in() -> None:
    assert fast(Tracker(), [0, 1, 2, 3, 4, 5, 9, 10, 14]) == [1]
    assert fast(Tracker(), [0, 1, 2, 3, 4, 5, 9], told=False) == [None]


def test_irregular_frames_break_no_id() -> None:
    assert fast(Tracker(), [0, 1, 3, 4, 6, 7, 9, 10, 12]) == [1]


@pytest.mark.parametrize("away_s", [0.5 * LIFE_S, 2 * LIFE_S])
def test_who_was_away_for_long_gets_a_new_id(away_s: float) -> None:
    car = ("car", box(0))
    tracker, back_s = seen_twice(car), 0.1 + away_s
    tracker.update(answered(), 0.2)
    tracker.update(answered(car), back_s)
    assert ids(tracker.update(answered(car), back_s + 0.1)) == ([1] if away_s <= LIFE_S else [2])


def test_many_frames_without_an_object_are_survived_where_they_took_little_time() -> None:
    car = ("car", box(0))
    tracker = seen_twice(car)
    for number in range(30):
        tracker.update(answered(), 0.1 + 0.01 * number)
    assert ids(tracker.update(answered(car), 0.5)) == [1]


@pytest.mark.parametrize("time_s", [None, 0.1, 0.0, -5.0, nan])
def test_a_time_that_says_nothing_counts_as_one_interval_more(time_s: float | None) -> None:
    car = ("car", box(0))
    tracker = seen_twice(car)
    assert ids(tracker.update(answered(car), time_s)) == [1]
    assert ids(tracker.update(answered(car), None if time_s is None else time_s + 0.1)) == [1]


def test_frames_that_came_together_give_no_object_the_speed_of_light() -> None:
    tracker = Tracker()
    times = [0.0, 0.1, 0.2, 0.3, 0.3 + 1e-9, 0.3 + 2e-9, 0.4, 0.5, 0.6]
    found = [ids(tracker.update(answered(("car", box(3.0 * number))), at)) for number, at in enumerate(times)]
    assert found[1:] == [[1]] * 8


@pytest.mark.parametrize(("first", "then"), [("car", "truck"), ("train", "bus"), ("person", "rider")])
def test_an_object_that_is_taken_for_another_of_its_kind_keeps_its_id(first: str, then: str) -> None:
    assert ids(seen_twice((first, box(0))).update(answered((then, box(0))), 0.2)) == [1]


@pytest.mark.parametrize(("first", "then"), [("rider", "bicycle"), ("car", "person"), ("dog", "cat")])
def test_an_object_of_another_kind_is_another(first: str, then: str) -> None:
    assert ids(seen_twice((first, box(0))).update(answered((then, box(0))), 0.2)) == [None]


def test_an_object_that_is_answered_twice_has_one_id() -> None:
    as_bus, as_train = ("bus", box(0)), ("train", box(3))
    tracker = seen_twice(as_bus, as_train)
    assert ids(tracker.update(answered(as_bus, as_train), 0.2)) == [1, None]
    assert ids(tracker.update(answered(as_train, as_bus), 0.3)) == [1, None]


def test_one_in_front_of_another_kind_is_no_second_answer() -> None:
    rider, bicycle = ("rider", box(0)), ("bicycle", box(3))
    assert ids(seen_twice(rider, bicycle).update(answered(rider, bicycle), 0.2)) == [1, 2]


def test_a_camera_of_another_size_gets_the_same_ids() -> None:
    places = [0.0, 12.0, 30.0, 44.0, 90.0, 105.0, 300.0, 310.0]
    found = []
    for scale in (1, 3):
        tracker, size_hw = Tracker(), (SIZE_HW[0] * scale, SIZE_HW[1] * scale)
        answers = [answered(("car", box(x * scale, 0, 60 * scale, 60 * scale)), size_hw=size_hw) for x in places]
        found.append([ids(tracker.update(answer, number / FPS)) for number, answer in enumerate(answers)])
    assert found[0] == found[1]
    assert found[0][-1] not in ([None], [1])  # the jump was one object's end and another's begin


def test_a_box_without_an_area_has_no_id() -> None:
    flat, car = ("car", box(0, width=0)), ("car", box(500))
    assert ids(seen_twice(car, flat).update(answered(car, flat), 0.2)) == [1, None]


def test_the_library_keeps_quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a box, too, that shrinks until it is expected to turn inside out."""
    tracker, near = Tracker(), ("car", box(400))
    with caplog.at_level(logging.DEBUG):
        for number, width in enumerate((80.0, 60.0, 40.0, 20.0)):
            tracker.update(answered(("car", box(0, width=width)), near), number / FPS)
        for number in range(4, 8):
            tracker.update(answered(near), number / FPS)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@given(st.lists(st.lists(st.tuples(st.sampled_from(["car", "bus", "rider"]), st.integers(0, 40)), max_size=6)))
def test_no_two_instances_of_a_frame_share_an_id(frames: list[list[tuple[str, int]]]) -> None:
    tracker = Tracker()
    for number, frame in enumerate(frames):
        named = tracker.update(answered(*((name, box(10.0 * place)) for name, place in frame)), number / FPS)
        given_ids = [each for each in ids(named) if each is not None]
        assert len(named.instances) == len(frame)
        assert len(set(given_ids)) == len(given_ids)
        assert all(each >= 1 for each in given_ids)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "norfair", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'streetmask\[tracking\]'") as refused:
        Tracker()
    assert refused.value.field == "track"


def test_the_library_is_loaded_for_a_tracker_alone() -> None:
    code = "import sys, serve.tracking; sys.exit('norfair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
