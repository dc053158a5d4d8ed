"""Faults through the command, on real servers with the tiny model, and their page."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.faults import FaultBench
from bench.hostile import bombs
from serve.frame import EncodedFrame
from tests.serve.tiny_model import write_tiny_model

SHORT = ["--size", "128x64", "--frame-count", "3"]


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny" / "3")


def played(folder: Path, out: Path, share: float, *names: str) -> dict[str, Any]:
    """The document of a run of these faults."""
    words = ["serve", "--spawn", str(folder), *SHORT, "--fault", *names, "--fault-share", str(share)]
    assert main([*words, "--out", str(out)]) == 0
    run: dict[str, Any] = json.loads(out.read_text())
    assert run["kind"] == "faults"
    assert not run["partial"]
    assert list(run["faults"]) == list(names)
    return run


def test_faults_without_a_folder_to_serve_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--server", "127.0.0.1:9", "--fault", "bombs"]) == 1
    assert "--fault: expected --spawn beside it" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1.5"])
def test_a_share_of_nothing_or_more_than_all_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--spawn", "tiny", "--fault", "bombs", "--fault-share", share]) == 1
    assert "--fault-share: expected more than 0 and at most 1" in capsys.readouterr().err


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--spawn", "tiny", "--fault", "earthquake"])
    assert ended.value.code == 2
    assert "earthquake" in capsys.readouterr().err


def test_a_server_that_does_not_start_is_told_and_no_success(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--spawn", str(tmp_path / "none"), *SHORT, "--fault", "bombs"]) == 1
    run = json.loads(capfd.readouterr().out.splitlines()[-1])
    bomb = run["faults"]["bombs"]
    assert bomb["came"] == f"not measured: {bomb['error']}"
    assert run["errors"] == {"bombs": bomb["error"]}


def test_hostile_input_and_a_failing_engine_are_accounted_for_frame_by_frame(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.json"
    run = played(tiny_folder, out, 0.01, "malformed", "bombs", "messages", "engine")
    lines = capsys.readouterr().out.splitlines()
    for name, fault in run["faults"].items():
        assert f"{name}: {fault['did']}: {fault['came']}" in lines
        assert "error" not in fault
    sent = {"malformed": 100, "bombs": len(list(bombs())), "messages": 100}
    for name, count in sent.items():
        fault = run["faults"][name]
        assert fault["sent"] == sum(fault["outcomes"].values()) == count
        assert fault["did"].startswith(f"{count} ")
        assert "a sound frame was answered next" in fault["came"]
    assert run["faults"]["malformed"]["outcomes"]["error"] > 0
    assert run["faults"]["malformed"]["outcomes"]["answered"] > 0, "some of them are sound"
    assert run["faults"]["bombs"]["outcomes"] == {"error": sent["bombs"]}
    assert "UNKNOWN" not in run["faults"]["messages"]["outcomes"]
    engine = run["faults"]["engine"]
    assert engine["frames"] == engine["answered"] + engine["failed"] == 10
    assert engine["failed"] == engine["engine_failed"]

    assert main(["table", str(out), "--out", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    for name, fault in run["faults"].items():
        (row,) = (line for line in page.splitlines() if line.split("|")[1:2] == [f" {name} "])
        assert fault["did"] in row
        assert fault["came"] in row


def test_neighbours_are_told_by_what_became_of_their_frames_and_the_clients_by_their_number(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        "quiet_ms": {"p99": 10.0},
        "fault_ms": {"p99": 12.0},
        "p99_ratio": 1.2,
        "frames": {"quiet": {"answered": 75}, "fault": {"answered": 70, "dropped": 2, "unanswered": 3}},
        "clients": {"came": 498, "refused": 2},
        "turns": 2,
        "errors": ["the server stopped"],
    }
    monkeypatch.setattr("bench.faults.others_p99", lambda *_: found)
    came = FaultBench(tiny_folder, [EncodedFrame(b"x")], 0.01).run("vanishing")["came"]
    assert came == (
        "a neighbour's answers: p99 10.0 ms without, 12.0 with; 0 and 2 of its frames dropped, 0 and 3 of its frames "
        "unanswered; 498 such clients came in 2 turns, 2 were refused; streams that ended early: 1, the first as the "
        "server stopped"
    )


@pytest.mark.slow
def test_slow_faults_are_told_in_words_and_figures(tiny_folder: Path, tmp_path: Path) -> None:
    names = ["stalled-readers", "slow-senders", "vanishing", "idle-streams", "throttled", "kill", "swaps", "holds"]
    run = played(tiny_folder, tmp_path / "run.json", 0.01, *names)
    assert run["errors"] == {}
    for name in names[:4]:
        fault = run["faults"][name]
        assert fault["quiet_ms"]["count"] > 0
        assert fault["fault_ms"]["count"] > 0
        assert f"; {fault['clients']['came']} such clients came in {fault['turns']} turns" in fault["came"]
    kill = run["faults"]["kill"]
    assert kill["killed"] == kill["replaced"] >= 1
    swaps = run["faults"]["swaps"]
    assert (swaps["failed"], swaps["wrong"]) == (0, 0)
