"""Interleaving, warm-up and the report, with fake engines of known delay."""

import json
import random
from pathlib import Path

import pytest

from bench.cli import main
from bench.rounds import Course, interleave, warm_up
from bench.samples import summary
from bench.worker import Sample
from tests.model.tiny_network import seeded_network
from training.checkpoint import save_checkpoint


class FakePlayer:
    """Takes a known time that grows with the call, and writes down who was asked when, about what."""

    def __init__(self, name: str, delay_ms: float, diary: list[tuple[str, tuple[int, ...]]]) -> None:
        self._name = name
        self._delay_ms = delay_ms
        self._diary = diary
        self._calls = 0

    def play(self, frames: tuple[int, ...]) -> Sample:
        self._calls += 1
        self._diary.append((self._name, frames))
        network_ms = self._delay_ms * self._calls
        return Sample(network_ms + 1.0, {"network": network_ms, "paste": 1.0}, rows=3, pasted=2)


def test_known_delays_come_out_as_they_are() -> None:
    diary: list[tuple[str, tuple[int, ...]]] = []
    players = {"fast": FakePlayer("fast", 2.0, diary), "slow": FakePlayer("slow", 6.0, diary)}
    courses = {"fast": Course(1), "slow": Course(2)}
    interleave(players, courses, 5, 3, random.Random(1))
    spent = courses["fast"].milliseconds()
    assert spent == {"total": [3, 5, 7, 9, 11], "network": [2, 4, 6, 8, 10], "paste": [1.0] * 5}
    assert summary(spent["total"])["median"] == 7
    assert summary(courses["slow"].milliseconds()["network"])["median"] == 3 * 6


def test_each_round_asks_everybody_once_in_random_order_about_the_next_frames() -> None:
    diary: list[tuple[str, tuple[int, ...]]] = []
    players = {name: FakePlayer(name, 1.0, diary) for name in "abc"}
    interleave(players, {"a": Course(1), "b": Course(1), "c": Course(2)}, 12, 3, random.Random(1))
    rounds = [diary[start : start + 3] for start in range(0, 36, 3)]
    assert all(sorted(name for name, _ in part) == ["a", "b", "c"] for part in rounds)
    assert len({tuple(name for name, _ in part) for part in rounds}) > 3
    assert [frames for name, frames in diary if name == "a"][:4] == [(0,), (1,), (2,), (0,)]
    assert [frames for name, frames in diary if name == "c"][:3] == [(0, 1), (2, 0), (1, 2)]


def test_a_round_that_is_cut_off_leaves_the_samples_paired() -> None:
    class Interrupted(FakePlayer):
        def play(self, frames: tuple[int, ...]) -> Sample:
            if self._calls == 2:
                raise KeyboardInterrupt
            return super().play(frames)

    courses = {"a": Course(1), "b": Course(1)}
    with pytest.raises(KeyboardInterrupt):
        interleave({"a": FakePlayer("a", 1, []), "b": Interrupted("b", 1, [])}, courses, 9, 1, random.Random(1))
    assert len(courses["a"].samples) == len(courses["b"].samples) == 2


@pytest.mark.parametrize(
    ("spent", "calls"),
    [
        (lambda _: 5.0, 10),
        (lambda number: 100.0 if number < 7 else 5.0, 15),
        (lambda number: 2.0**number, 40),
    ],
)
def test_warm_up_ends_when_calls_are_steady_and_in_any_case(spent, calls: int) -> None:  # type: ignore[no-untyped-def]
    assert warm_up(spent) == calls


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "tiny.pt"
    save_checkpoint(path, seeded_network())
    return path


def test_the_command_measures_a_checkpoint_on_the_engines_that_run_here_and_names_the_others(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino", reason="needs the package openvino")
    words = ["engine", str(checkpoint), "--engines", "onnxruntime", "openvino", "torch", "torch-float16"]
    words += ["--rounds", "8", "--threads", "1", "--decode", "--batch", "1", "2", "--frame-count", "2"]
    words += ["--size", "160x96", "--instances", "7"]
    assert main([*words, "--out", str(tmp_path / "run.json")]) == 0
    printed = capsys.readouterr().out.splitlines()
    line = json.loads(printed[-1])
    assert "samples_ms" not in next(iter(line["subjects"].values()))
    report = json.loads((tmp_path / "run.json").read_text())
    assert (report["kind"], report["partial"], report["base"]) == ("engine", False, f"{checkpoint}/onnxruntime")
    assert len(report["subjects"]) == 6
    assert list(report["left_out"]) == [f"{checkpoint}/torch-float16", f"{checkpoint}/torch-float16/b2"]
    reason = report["left_out"][f"{checkpoint}/torch-float16"]
    assert f"not measured: {checkpoint}/torch-float16: {reason}" in printed
    for name, subject in report["subjects"].items():
        stages = {"total", "decode", "prepare", "paste"}
        stages |= {"network", "nms", "masks"} if "torch" in name else {"graph"}
        assert set(subject["samples_ms"]) == stages
        assert all(len(values) == 8 and min(values) >= 0 for values in subject["samples_ms"].values())
        assert subject["rows_a_frame"] == subject["pasted_a_frame"] == 7  # forced, the same work for all
        assert subject["host_peak_bytes"] > 1 << 20
        assert subject["load_ms"] > 0 < subject["first_call_ms"]
    for name in ("onnxruntime", "openvino", "openvino/b2"):
        split = report["subjects"][f"{checkpoint}/{name}"]["graph_split_ms"]
        assert set(split) == {"network", "nms", "masks"} and min(split.values()) > 0
    torch_row = report["subjects"][f"{checkpoint}/torch"]
    assert torch_row["summary_ms_a_frame"]["graph"]["median"] > torch_row["summary_ms_a_frame"]["network"]["median"]
    assert torch_row["graph_ratio_to_base"]["ratio"] > 0
    assert report["subjects"][report["base"]]["ratio_to_base"] == {"ratio": 1, "low": 1, "high": 1}
    assert report["machine"]["cpu"] and report["machine"]["packages"]["onnxruntime"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing-there"], "targets: expected a model folder, a checkpoint or a preset"),
        (["street-nano", "--base", "other"], "base: expected one of street-nano/onnxruntime"),
        (["street-nano", "--size", "big"], "size: expected WIDTHxHEIGHT"),
        (["street-nano", "--engines", "caffe"], "engines: expected onnxruntime, "),
        (["street-nano", "--rounds", "1"], "--rounds: expected 8 or more"),
        (["street-nano", "--device", "cuda"], "torch sees no GPU here"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["engine", *words]) == 1
    assert f"bench: {sentence}" in capsys.readouterr().err.replace("device cuda was asked for, but ", "")
