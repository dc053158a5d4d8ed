"""The commands, each once, with the tiny model."""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scene.classes import EVERYDAY_CLASSES
from scene.errors import ServerError
from scene.image import decode_image
from streetmask.cli import main
from streetmask.server_process import server_process
from streetmask.sources import VideoFile
from tests.serve.conftest import RunningServer
from tests.streetmask.conftest import FRAMES, moving


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*arguments: object) -> int:
    words: Sequence[str] = [str(each) for each in arguments]
    return main(words)


def test_segment_wants_an_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("segment") == 1
    assert "input: expected a picture" in capsys.readouterr().err


def test_segment_draws_pictures_and_videos(
    pictures: Path, clip: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("segment", pictures, pictures / "1.png", clip, "--model", tiny_folder, "--out", out) == 0
    told = capsys.readouterr()
    assert re.fullmatch(r"runs on \S+ in float32\n", told.err)
    printed = told.out.splitlines()
    assert len(printed) == 4 + FRAMES
    assert printed[0].startswith(f"{pictures / '0.png'}: 1 red (")
    assert sorted(path.name for path in out.iterdir()) == [
        "0.png", "1-2.png", "1.png", "2.png", "clip.mp4", "results.jsonl",
    ]  # fmt: skip
    drawn = decode_image((out / "0.png").read_bytes())
    assert drawn.shape == (64, 128, 3)
    assert not np.array_equal(drawn, moving(0))
    assert len(list(VideoFile(out / "clip.mp4"))) == FRAMES
    assert [line["frame_id"] for line in lines_of(out / "results.jsonl")] == list(range(4 + FRAMES))


def test_segment_says_which_engine_runs(pictures: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("segment", pictures / "0.png", "--model", tiny_folder, "--engine", "onnxruntime") == 0
    assert capsys.readouterr().err == "runs on onnxruntime in float32\n"


def test_segment_says_which_picture_cannot_be_written(
    pictures: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "0.png").mkdir(parents=True)
    assert run("segment", pictures / "0.png", "--model", tiny_folder, "--out", out) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last == f"streetmask: {out / '0.png'} cannot be written: Is a directory"


def test_segment_names_a_missing_model(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("segment", pictures, "--model", tmp_path / "none") == 1
    assert "streetmask: expected a model folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wishes",
    [
        ["--pace", "source"],
        ["--pace", "answered"],
        ["--pace", "answered", "--policy", "every", "--in-flight", "1", "--priority", "5", "--model-version", "3"],
        ["--policy", "queue", "--queue-length", "2", "--max-age-ms", "60000"],
    ],
)
def test_stream_writes_video_recording_and_summary(
    tiny_server: RunningServer, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wishes: list[str]
) -> None:
    out, results = tmp_path / "out.mp4", tmp_path / "results.jsonl"
    arguments = ["--server", tiny_server.address, "--out", out, "--results", results, *wishes]
    assert run("stream", clip, *arguments) == 0
    assert f"{FRAMES} frames sent" in capsys.readouterr().out
    assert len(list(VideoFile(out))) == FRAMES
    assert [line["frame_id"] for line in lines_of(results)] == list(range(FRAMES))


def test_stream_records_ids_of_objects_and_why_frames_were_dropped(
    tiny_server: RunningServer, clip: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    wishes = ["--track", "--pace", "answered"]
    assert run("stream", clip, "--server", tiny_server.address, "--results", results, *wishes) == 0
    ids = {line["answer"]["instances"][0]["track_id"] for line in lines_of(results)}  # type: ignore[index]
    assert len(ids - {None}) == 1, "one object, which needs a second frame to be taken for one"
    wishes = ["--max-age-ms", "1", "--policy", "queue", "--queue-length", "256"]
    assert run("stream", clip, "--server", tiny_server.address, "--results", results, *wishes) == 0
    reasons = {line["reason"] for line in lines_of(results) if line["outcome"] == "dropped"}
    assert reasons <= {"expired"}, "none gives way to another in a queue longer than the clip"


def test_stream_gets_through_a_damaged_video(
    tiny_server: RunningServer, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, results = tmp_path / "out.mp4", tmp_path / "results.jsonl"
    assert run("stream", damaged, "--server", tiny_server.address, "--out", out, "--results", results) == 0
    count = len(lines_of(results))
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{count} frames sent")
    assert captured.err.count("is damaged; packets skipped: ") == 1
    assert 30 < count == len(list(VideoFile(out))) < 40


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--score-threshold", "1.5"], "score_threshold: expected 0 to 1, but 1.5 came"),
        (["--max-instances", "-1"], "max_instances: expected 0 or more, but -1 came"),
        (["--jpeg-quality", "101"], "--jpeg-quality: expected 0 to 100, but 101 came"),
        (["--model-name", "huge"], "NOT_FOUND"),
        (["--model-version", "9"], "NOT_FOUND"),
        (["--pace", "answered", "--policy", "newest"], "policy: expected every, or nothing, with --pace answered"),
        (["--queue-length", "0"], "queue_length: expected 1 to 256, but 0 came"),
        (["--in-flight", "0"], "--in-flight: expected 1 or more, but 0 came"),
        (["--server", "127.0.0.1:1", "--timeout-s", "0.5"], "the server cannot be reached"),
    ],
)
def test_stream_explains_what_is_wrong(
    tiny_server: RunningServer, clip: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run("stream", clip, "--server", tiny_server.address, *arguments) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("streetmask: ")
    assert sentence in captured


def test_synth_writes_a_data_set(tmp_path: Path) -> None:
    sides = ["--height", "128", "--width", "256"]
    assert run("data", "synth", tmp_path / "set", "--count", "2", "--seed", "5", "--workers", "1", *sides) == 0
    labels = json.loads((tmp_path / "set" / "instances.json").read_text())
    assert [(image["height"], image["width"]) for image in labels["images"]] == [(128, 256)] * 2


def test_synth_tells_its_progress_in_whole_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streetmask.command_line._LINE_EVERY", 2)
    sides = ["--height", "64", "--width", "64", "--conditions", "night", "rain=2"]
    assert run("data", "synth", tmp_path / "set", "--count", "5", "--seed", "5", "--workers", "1", *sides) == 0
    path = tmp_path / "set" / "instances.json"
    told = capsys.readouterr()
    assert told.err.splitlines() == ["2 of 5 scenes", "4 of 5 scenes", "5 of 5 scenes"]
    assert re.fullmatch(rf"wrote {path}: \d+\.\d scenes a second from 1 processes\n", told.out)
    assert {image["condition"] for image in json.loads(path.read_text())["images"]} <= {"night", "rain"}


def test_synth_names_the_conditions_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "synth", tmp_path / "set", "--count", "1", "--seed", "5", "--conditions", "fog") == 1
    assert "conditions: expected clear, or some of dusk, night, rain" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_synth_writes_everyday_views_of_their_own_size(tmp_path: Path) -> None:
    options = ["--count", "1", "--seed", "5", "--workers", "1", "--view", "everyday"]
    assert run("data", "synth", tmp_path / "set", *options) == 0
    labels = json.loads((tmp_path / "set" / "instances.json").read_text())
    assert [(image["height"], image["width"]) for image in labels["images"]] == [(480, 640)]
    assert [category["name"] for category in labels["categories"]] == list(EVERYDAY_CLASSES)


def test_synth_refuses_conditions_for_everyday_views(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--count", "1", "--seed", "5", "--view", "everyday", "--conditions", "night"]
    assert run("data", "synth", tmp_path / "set", *options) == 1
    assert "conditions: everyday views are drawn under none, but 'night' came; leave" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_the_demo_runs_from_a_rendered_clip_to_its_files(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = ["--seconds", "0.4", "--height", "128", "--width", "256"]
    assert run("demo", "--model", tiny_folder, "--out", tmp_path, *sides) == 0
    assert "12 frames sent" in capsys.readouterr().out
    assert len(list(VideoFile(tmp_path / "street.mp4"))) == 12
    assert decode_image((tmp_path / "preview.png").read_bytes()).shape == (128, 256, 3)
    assert len(lines_of(tmp_path / "results.jsonl")) == 12


def test_the_demo_says_that_its_preview_cannot_be_written(
    clip: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "preview.png").mkdir()
    assert run("demo", "--model", tiny_folder, "--out", tmp_path, "--video", clip) == 1
    assert "preview.png cannot be written" in capsys.readouterr().err


def test_the_demo_takes_a_clip_of_one_s_own(clip: Path, tiny_folder: Path, tmp_path: Path) -> None:
    assert run("demo", "--model", tiny_folder, "--out", tmp_path, "--video", clip) == 0
    assert len(list(VideoFile(tmp_path / "street.mp4"))) == FRAMES


def test_a_server_that_cannot_start_is_reported_and_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServerError, match="the server ended before it answered"), server_process(tmp_path):
        raise AssertionError("it must not start")
    assert "expected a model folder" in capfd.readouterr().err


@pytest.fixture
def fake_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says its session's id as its address, and then waits."""
    server = tmp_path / "server"
    code = "import os, time; print('listening on', os.getsid(0), flush=True); time.sleep(60)"
    server.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    server.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(server))


@pytest.mark.usefixtures("fake_server")
def test_ctrl_c_does_not_reach_the_server(tmp_path: Path) -> None:
    with server_process(tmp_path) as running:
        assert int(running.address) != os.getsid(0)


@pytest.mark.usefixtures("fake_server")
def test_a_server_that_has_started_lives_as_long_as_it_is_used(tmp_path: Path) -> None:
    with server_process(tmp_path, start_s=3.0) as running:
        time.sleep(3.5)
        assert Path(f"/proc/{running.pid}/stat").read_text().split()[2] != "Z"
