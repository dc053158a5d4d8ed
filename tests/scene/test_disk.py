import errno
from pathlib import Path
from typing import Any

import pytest

from scene.disk import require_room, whole_file, writing
from scene.errors import DataError


def test_nothing_written_is_an_empty_file(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new/a.txt"):
        pass
    assert (tmp_path / "new/a.txt").read_bytes() == b""


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    path.with_suffix(".partial").symlink_to("/dev/full")
    told = rf"cannot write {path}: No space left on device; what was saved"
    with pytest.raises(DataError, match=told), whole_file(path) as stream:
        stream.write(b"new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_a_disk_that_has_no_room_for_a_name_is_told_of_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose quota, or whose number of files, is used up."""

    def refused(path: Path, *_: Any) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))

    monkeypatch.setattr(Path, "open", refused)
    told = r"cannot write .*a\.txt: Disk quota exceeded"
    with pytest.raises(DataError, match=told), whole_file(tmp_path / "a.txt"):
        pass


def test_another_failure_stays_what_it_is() -> None:
    with pytest.raises(PermissionError), writing(Path("last.pt")):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(RuntimeError, match="another"), writing(Path("last.pt")):
        raise RuntimeError("another")


def test_a_disk_without_room_is_told_of_before(tmp_path: Path) -> None:
    require_room(tmp_path, 1)
    with pytest.raises(DataError, match=r"has room for \d+ MB, but a checkpoint takes about 1000000000000: make room"):
        require_room(tmp_path, 10**18)
