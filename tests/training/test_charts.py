from pathlib import Path

import cv2
import pytest

from training.charts import chart


def test_a_chart_without_data_is_a_picture_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        with chart(tmp_path / "plots" / name, "Nothing", "steps", "AP", (4.0, 2.0)):
            pass
    picture = cv2.imread(str(tmp_path / "plots" / "a.png"))
    assert picture is not None
    assert picture.shape == (240, 480, 3)
    assert (tmp_path / "plots" / "a.png").read_bytes() == (tmp_path / "plots" / "b.png").read_bytes()


def test_of_a_chart_that_fails_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), chart(tmp_path / "a.png", "Nothing", "steps", "AP"):
        _ = 1 / 0
    assert not (tmp_path / "a.png").exists()
