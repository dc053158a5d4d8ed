import json
import math
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from scene.errors import DataError
from training.run_log import EVENTS, LOG, RunLog, keep_until
from training.step import Outcome

OUTCOME = Outcome({"box": 1.5, "mask": 2.0}, gradient_norm=3.0, rate=0.01, scale=1.0)
RESULT = {"mask": {"ap": 0.25, "ap50": 0.5, "ap75": None, "small": None, "medium": 0.1, "large": 0.2}, "images": 2}


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in (folder / LOG).read_text().splitlines()]


def told(folder: Path, last: int, first: int = 1, report_every: int = 2) -> None:
    with RunLog(folder, 10, first - 1, evaluated=0, report_every=report_every) as log:
        for number in range(first, last + 1):
            log.step(number, OUTCOME, skipped=0, pictures=4, seconds=0.5, waited_s=0.1)


def test_a_run_of_no_steps_leaves_an_empty_log(tmp_path: Path) -> None:
    told(tmp_path / "run", 0)
    assert lines(tmp_path / "run") == []


def test_a_line_a_step_that_stands_there_at_once(tmp_path: Path) -> None:
    with RunLog(tmp_path, 10, 0, evaluated=0, report_every=100) as log:
        log.step(1, OUTCOME, skipped=0, pictures=4, seconds=0.5, waited_s=0.1)
        assert lines(tmp_path) == [
            {
                "step": 1, "box": 1.5, "mask": 2.0, "total": 3.5, "rate": 0.01, "gradient_norm": 3.0, "scale": 1.0,
                "skipped": 0, "problem": "", "seconds": 0.5, "data_seconds": 0.1, "images_per_second": 8.0,
            }
        ]  # fmt: skip


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    bad = OUTCOME._replace(terms={"box": math.nan, "mask": math.inf}, problem="the loss")
    with RunLog(tmp_path, 10, 0, evaluated=0, report_every=1) as log:
        log.step(1, bad, skipped=1, pictures=4, seconds=0.5, waited_s=0.1)
    (line,) = lines(tmp_path)
    assert (line["box"], line["total"], line["problem"]) == (None, None, "the loss")


def test_without_a_terminal_progress_is_told_in_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(tmp_path, 4)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["step 2 of 10", "step 4 of 10"]
    assert "loss 3.50, 8.0 images/s" in said[-1]
    assert said[-1].endswith(" left")


def test_tensorboard_has_scalars_and_pictures_once(tmp_path: Path) -> None:
    """Also of a run that was killed behind its checkpoint and went on from there."""
    told(tmp_path, 6)
    (before,) = (tmp_path / EVENTS).iterdir()  # named by the second and a counter, and read in the order of the names:
    before.rename(before.with_name("events.out.tfevents.1000000000"))  # no run goes on in the second of its kill
    with RunLog(tmp_path, 10, 3, evaluated=0, report_every=2) as log:
        log.step(4, OUTCOME, skipped=0, pictures=4, seconds=0.5, waited_s=0.1)
        log.evaluation(4, "averaged", {**RESULT, "box": RESULT["mask"]})
        log.pictures(4, [np.full((8, 12, 3), 200, np.uint8)])
    events = EventAccumulator(str(tmp_path / EVENTS)).Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [2, 4]
    assert [event.value for event in events.Scalars("mask_ap/averaged")] == [0.25]
    assert "mask_ap75/averaged" not in events.Tags()["scalars"]
    (image,) = events.Images("held_out/0")
    assert (image.height, image.width, image.step) == (8, 12, 4)


def test_a_log_that_is_not_there_is_not_cut(tmp_path: Path) -> None:
    keep_until(tmp_path / LOG, 3, 0)
    assert not (tmp_path / LOG).exists()


@pytest.mark.parametrize(
    ("step", "evaluated", "kept"),
    [(0, 0, 0), (1, 0, 1), (2, 0, 2), (2, 2, 3), (3, 2, 4), (4, 4, 6), (9, 9, 6)],
)
def test_a_log_is_cut_behind_the_checkpoint(tmp_path: Path, step: int, evaluated: int, kept: int) -> None:
    """Evaluations stand after the second and the fourth step; the last line is not whole."""
    whole = [b'{"step":1}\n', b'{"step":2}\n', b'{"step":2,"images":3}\n', b'{"step":3}\n', b'{"step":4}\n']
    whole += [b'{"step":4,"images":3}\n']
    (tmp_path / LOG).write_bytes(b"".join(whole) + b'{"step":5,"bo')
    keep_until(tmp_path / LOG, step, evaluated)
    assert (tmp_path / LOG).read_bytes() == b"".join(whole[:kept])


def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path) -> None:
    (tmp_path / LOG).symlink_to("/dev/full")
    with (
        pytest.raises(DataError, match=rf"cannot write \S+/{LOG}: No space left on device; .* make room"),
        RunLog(tmp_path, 10, 0, evaluated=0, report_every=1) as log,
    ):
        log.step(1, OUTCOME, skipped=0, pictures=4, seconds=0.5, waited_s=0.1)
