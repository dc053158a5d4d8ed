"""Picture files that are written."""

from pathlib import Path

import numpy as np
import pytest

from scene.errors import DataError
from scene.image import decode_image
from streetmask.picture import write_picture
from tests.streetmask.conftest import moving


def test_a_picture_comes_back_as_it_was(tmp_path: Path) -> None:
    write_picture(tmp_path / "picture.png", moving(3))
    assert np.array_equal(decode_image((tmp_path / "picture.png").read_bytes()), moving(3))


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none/picture.png cannot be written: No such file"):
        write_picture(tmp_path / "none" / "picture.png", moving(0))
