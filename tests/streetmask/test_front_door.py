"""The few names that a Python user imports."""

import subprocess
import sys

import pytest

import streetmask


def test_every_name_is_there() -> None:
    for name in streetmask.__all__:
        assert getattr(streetmask, name).__name__ == name
    assert set(streetmask.__all__) == set(streetmask._HOMES)


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = streetmask.Nonsense


def test_the_door_itself_loads_nothing() -> None:
    code = "import sys, streetmask; sys.exit(bool({'numpy', 'grpc', 'serve'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
