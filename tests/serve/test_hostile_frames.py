"""Frames that mean harm: refused in words, or decoded to the size that they claim, without a crash or a leak."""

import json
import random
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL.JpegImagePlugin import JpegImageFile

from bench.hostile import ballast, bombs, malformed_frames
from scene.errors import FrameError
from scene.image import reduction
from serve.frame import EncodedFrame, Encoding

COUNT = 10_000
NETWORK_HW = (8, 12)
RAW = (Encoding.RAW_RGB, Encoding.RAW_BGR)
MIB = 1 << 20

on_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

# Reads frames from files, one after the other, and tells after each what came of it and the most memory until then.
CHILD = """
import json, resource, sys
from pathlib import Path
from scene.errors import FrameError
from serve.frame import EncodedFrame

resource.setrlimit(resource.RLIMIT_CPU, (120, 120))  # of processor time, of which the whole needs about five seconds

def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10

EncodedFrame(Path(sys.argv[1]).read_bytes()).decode()
for name in sys.argv[2:]:
    frame = EncodedFrame(Path(name).read_bytes())
    before = peak()
    try:
        outcome = list(frame.decode().shape)
    except FrameError as error:
        outcome = str(error)
    print(json.dumps([outcome, peak() - before]), flush=True)
"""


def claimed_hw(frame: EncodedFrame) -> tuple[int, int] | None:
    """What a frame that was decoded had claimed, read by others than the tested code; None where Pillow, which wants
    each segment of a JPEG where the one before ends, reads no further."""
    if frame.encoding in RAW:
        return frame.size_hw
    if frame.data.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", frame.data[16:24])
        return height, width
    try:
        with JpegImageFile(BytesIO(frame.data)) as picture:
            return picture.height, picture.width
    except (SyntaxError, OSError):
        return None


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def in_a_child(frames: dict[str, EncodedFrame], folder: Path) -> dict[str, tuple[list[int] | str, int]]:
    """The outcome of each frame in a process of their own, and by how much it raised the process's most memory."""
    paths = [folder / "first", *(folder / str(number) for number in range(len(frames)))]
    for path, data in zip(paths, [small_png(), *(frame.data for frame in frames.values())], strict=True):
        path.write_bytes(data)
    words = [sys.executable, "-c", CHILD, *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (outcome, grown) for name, (outcome, grown) in zip(frames, lines, strict=True)}


def small_png() -> bytes:
    return next(ballast())[1].data


def test_no_frames_of_none() -> None:
    assert list(malformed_frames(1, 0)) == []


@on_linux
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_ten_thousand_malformed_frames() -> None:
    decoded, refused, after_some = 0, 0, 0
    for number, (name, frame) in enumerate(malformed_frames(6, COUNT)):
        if number == COUNT // 5:
            after_some = resident_bytes()
        try:
            image = frame.decode()
        except FrameError as error:
            assert str(error)
            refused += 1
            continue
        assert image.shape[2] == 3
        claimed = claimed_hw(frame)
        assert claimed in (None, image.shape[:2]), name
        decoded += claimed is not None
    assert decoded > COUNT // 20
    assert refused > COUNT // 2
    assert resident_bytes() - after_some < 32 * MIB  # 4 KiB a frame: other tests of this process leave theirs, too


def test_malformed_frames_at_reduced_scale() -> None:
    """What is refused in full is refused at reduced scale, too, and what is not has the size that its frame claims."""
    reduced = 0
    for name, frame in malformed_frames(7, 2000):
        try:
            whole = frame.decode()
        except FrameError:
            with pytest.raises(FrameError):
                frame.decode_for(NETWORK_HW)
            continue
        image, size_hw = frame.decode_for(NETWORK_HW)
        assert size_hw == whole.shape[:2], name
        is_jpeg = frame.encoding not in RAW and frame.data.startswith(b"\xff\xd8")
        scale = reduction(size_hw, NETWORK_HW) if is_jpeg else 1
        assert image.shape == (-(-size_hw[0] // scale), -(-size_hw[1] // scale), 3), name
        reduced += scale > 1
    assert reduced > 20


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again, other = (list(malformed_frames(seed, 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@on_linux
def test_a_bomb_is_refused_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    frames = dict(bombs())
    assert all(len(frame.data) < 2 * MIB for frame in frames.values())
    found = in_a_child(frames, tmp_path)
    sentences = {name: outcome for name, (outcome, _) in found.items()}
    assert all(isinstance(outcome, str) for outcome in sentences.values()), sentences
    assert "but 30000x30000 came" in sentences["PNG of 30,000 x 30,000"]
    assert "but 65535x65535 came" in sentences["JPEG that claims 65,535 x 65,535"]
    assert "does not decode to the 64x48 pixels" in sentences["PNG with more data than pixels"]
    assert "does not decode to the 4096x2160 pixels" in sentences["PNG with fewer data than pixels"]
    assert "may have 100 scans" in sentences["JPEG of 70,000 scans"]
    grown = {name: bytes_ for name, (_, bytes_) in found.items()}
    assert max(grown.values()) < 8 * MIB, grown


@on_linux
def test_ballast_around_a_picture_is_left_aside(tmp_path: Path) -> None:
    frames = dict(ballast())
    found = in_a_child(frames, tmp_path)
    assert [outcome for outcome, _ in found.values()] == [[48, 64, 3]] * len(frames)
    grown = {name: bytes_ for name, (_, bytes_) in found.items()}
    assert max(grown.values()) < 24 * MIB, grown


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_behind_a_start_mark_are_refused(seed: int) -> None:
    rng = random.Random(seed)
    for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(FrameError):
            EncodedFrame(start + rng.randbytes(500)).decode()
