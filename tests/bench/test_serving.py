"""A load on a real server with the tiny model: what comes back is what was sent."""

import json
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.load import LoadPlan, run_load
from bench.serving import load_line, within
from serve.client import Received
from serve.frame import EncodedFrame
from streetmask.server_process import RunningServer, server_process
from tests.serve.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny" / "3")


@pytest.fixture(scope="module")
def server(tiny_folder: Path) -> Iterator[RunningServer]:
    with server_process(tiny_folder) as running:
        yield running


def report_of(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


SHORT = ["--size", "128x64", "--frame-count", "3", "--seconds", "0.6"]


def test_two_streams_get_an_answer_or_a_notice_for_every_frame(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "--server", server.address, "--streams", "2", "--rate", "10", *SHORT]
    assert main(words) == 0
    report = report_of(capsys.readouterr().out)
    load = report["loads"]["load"]
    assert load["frames"]["due"] == 12
    assert load["frames"]["answered"] + load["frames"].get("dropped", 0) == 12
    assert load["offered_fps"] == pytest.approx(20, rel=0.2)
    assert [stream["frames"]["due"] for stream in load["streams"]] == [6, 6]
    assert 0.5 <= load["fairness"] <= 1
    assert load["age_ms"]["max"] >= load["age_ms"]["median"] > 0
    assert set(load["server_ms"]) == {"queue", "decode", "prepare", "network", "paste", "encode", "total"}
    assert not report["partial"]


def test_a_spawned_server_is_held_against_its_engine_in_a_loop_and_taken_to_its_limit(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.serving._WINDOW_S", 0.2)
    monkeypatch.setattr("bench.serving._SWEEP_STEPS", 2)
    words = ["serve", "--spawn", str(tiny_folder), "--rate", "5", *SHORT, "--bare", "--sweep", "--overload", "1.5"]
    words += ["--engine", "onnxruntime", "--precision", "float32"]
    assert main([*words, "--windows", "8", "--out", str(tmp_path / "run.json")]) == 0
    report = json.loads((tmp_path / "run.json").read_text())
    found = report["throughput"]
    assert found["served_fps"] > 0
    for name in ("engine", "path"):
        assert found[f"bare_{name}_fps"] > 0
        assert found[f"served_over_bare_{name}"]["ratio"] > 0
    loads = [name for name in report["loads"] if not name.endswith("again")]
    assert loads == ["load", "1.5 x throughput", "sweep 1", "sweep 2"]
    assert len(report["sweep"]["trials"]) == len(report["loads"]) - 2
    loaded = report["loads"]["1.5 x throughput"]
    assert len(loaded["samples_served_fps"]) == len(loaded["samples_answered_fps"]) == 8
    assert loaded["of_throughput"]["low"] <= loaded["of_throughput"]["ratio"] <= loaded["of_throughput"]["high"]
    assert report["server_memory"]["resident_bytes"] > 1 << 20
    memory = report["loads"]["load"]["server_memory"]
    assert memory["most_bytes"] >= memory["end_bytes"] > 1 << 20
    assert "samples_age_ms" in report["loads"]["load"]
    assert "samples_age_ms" not in report_of(capsys.readouterr().out)["loads"]["load"]


def test_a_sweep_tries_a_load_that_fails_once_more(
    server: RunningServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.serving._WINDOW_S", 0.1)
    monkeypatch.setattr("bench.serving._SWEEP_STEPS", 3)
    verdicts = iter([True, False, True, False, False])
    monkeypatch.setattr("bench.serving.within", lambda report, bound_ms: next(verdicts))
    words = ["serve", "--server", server.address, "--rate", "5", *SHORT, "--sweep", "--windows", "8"]
    assert main(words) == 0
    report = report_of(capsys.readouterr().out)
    loads = [name for name in report["loads"] if name.startswith("sweep")]
    assert loads == ["sweep 1", "sweep 2", "sweep 2 again", "sweep 3", "sweep 3 again"]
    assert [trial["within"] for trial in report["sweep"]["trials"]] == [True, False, True, False, False]
    limit = 1.5 * report["throughput"]["served_fps"]
    assert report["sweep"]["highest_fps"] == pytest.approx(0.75 * limit, rel=0.01)


def test_raw_pixels_and_random_arrivals(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "--server", server.address, "--arrivals", "poisson", "--jpeg-quality", "0", *SHORT]
    assert main(words) == 0
    assert report_of(capsys.readouterr().out)["loads"]["load"]["frames"]["due"] >= 1


def test_an_unreachable_server_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.serving._READY_S", 0.3)
    assert main(["serve", "--server", "127.0.0.1:9", *SHORT]) == 1
    assert "bench: " in (text := capsys.readouterr().err)
    assert "127.0.0.1:9" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "either --server or --spawn"),
        (["--server", "a:1", "--spawn", "b"], "either --server or --spawn"),
        (["--server", "a:1", "--bare"], "--spawn beside it"),
        (["--server", "a:1", "--streams", "0"], "streams: expected 1 to 256"),
        (["--server", "a:1", "--streams", "3", "--rate", "5", "6"], "one for each stream"),
        (["--server", "a:1", "--rate", "0"], "rate: expected more than 0"),
        (["--server", "a:1", "--frames", "/nowhere"], "/nowhere is not there"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words]) == 1
    assert sentence in capsys.readouterr().err


def test_an_engine_that_the_folder_has_no_file_for_is_told(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "--spawn", str(tiny_folder), "--engine", "onnxruntime", "--precision", "int8", *SHORT]
    assert main(words) == 1
    assert "cannot run here on onnxruntime" in capfd.readouterr().err


def test_an_empty_folder_of_frames_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--server", "a:1", "--frames", str(tmp_path)]) == 1
    assert "has no pictures" in capsys.readouterr().err


def _silent(_frames: Iterable[EncodedFrame]) -> Generator[Received, None, None]:
    """A server that answers nothing and closes."""
    yield from ()


def test_ctrl_c_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_self: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    plan = LoadPlan((5.0,), 60.0)
    logs, ending = run_load([_silent], [EncodedFrame(b"x")], plan, lambda: None)
    assert ending == "stopped"
    assert len(logs) == 1


def test_a_server_that_never_answers_is_given_up_and_is_no_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load._PATIENCE_S", 0.2)
    cancelled = threading.Event()

    def stuck(frames: Iterable[EncodedFrame]) -> Generator[Received, None, None]:
        next(iter(frames))
        cancelled.wait()
        yield from ()

    logs, ending = run_load([stuck], [EncodedFrame(b"x")], LoadPlan((50.0,), 0.1), cancelled.set)
    assert ending == "stalled"
    assert [outcome.kind for outcome in logs[0].all_outcomes()] == ["unanswered"] + ["unsent"] * 4


LOAD = {
    "frames": {"due": 200, "answered": 199, "dropped": 1},
    "age_ms": {"p95": 90.0, "median": 50.0},
    "late_ms": {},
    "errors": [],
}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"age_ms": {"p95": 101.0}}, False),
        ({"age_ms": {"count": 0}}, False),
        ({"frames": {"due": 200, "answered": 197, "dropped": 3}}, False),
        ({"errors": ["gone"]}, False),
    ],
)
def test_a_load_is_within_the_bound(change: dict[str, Any], good: bool) -> None:
    assert within({**LOAD, **change}, 100.0) is good


def test_a_load_in_one_line() -> None:
    line = load_line("load", {**LOAD, "offered_fps": 20.0, "answered_fps": 19.9})
    assert line.startswith("load: 20.0 fps offered, 19.9 answered (200 due, 199 answered, 1 dropped); age ms median 50")
    memory = {"start_bytes": 90 << 20, "middle_bytes": 100 << 20, "end_bytes": 101 << 20}
    line = load_line("load", {**LOAD, "offered_fps": 20.0, "answered_fps": 19.9, "server_memory": memory})
    assert line.endswith("; the server's memory 90, 100, 101 MiB")
