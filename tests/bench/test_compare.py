"""Change or noise, and with which status it ends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.report import SCHEMA_VERSION


def run_document(kind: str, **content: Any) -> dict[str, Any]:
    """An envelope as `bench` writes it."""
    return {
        "kind": kind,
        "schema": SCHEMA_VERSION,
        "ended": "2026-11-21T12:00:00+00:00",
        "partial": False,
        "settings": {"rounds": 100},
        "machine": {"cpu": "one", "cpus": 2, "gpu": None, "packages": {"torch": "2.13"}, "memory_gib": 24.0},
        "meanwhile": {"others_cpu_share": 0.0, "stolen_cpu_share": 0.0},
        "warnings": [],
        "errors": [],
        **content,
    }


def engine_run(medians: dict[str, float], seed: int) -> dict[str, Any]:
    """A hundred samples of each subject with five in a hundred of noise; the first one is the base."""
    rng = np.random.default_rng(seed)
    subjects = {
        name: {"samples_ms": {"total": (median * rng.normal(1, 0.05, 100)).tolist()}}
        for name, median in medians.items()
    }
    return run_document("engine", base=next(iter(medians)), subjects=subjects)


def ask(tmp_path: Path, a: dict[str, Any], b: dict[str, Any], *words: str) -> int:
    paths = []
    for name, run in (("a", a), ("b", b)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(run))
        paths.append(str(path))
    return main(["compare", *paths, *words])


def test_noise_is_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, engine_run({"base": 10, "new": 5}, 1), engine_run({"base": 10, "new": 5}, 2)) == 0
    out = capsys.readouterr().out
    assert "no change  new" in out
    assert "not judged base" in out


def test_a_regression_beyond_noise_ends_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = engine_run({"base": 10, "new": 5}, 1), engine_run({"base": 10, "new": 6}, 2)
    assert ask(tmp_path, a, b) == 1
    assert "worse      new: +" in capsys.readouterr().out
    assert ask(tmp_path, a, b, "--tolerance", "0.3") == 0
    assert ask(tmp_path, b, a) == 0
    assert "better     new: -" in capsys.readouterr().out


def test_a_machine_that_is_slower_as_a_whole_is_no_regression_of_what_is_held_against_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = engine_run({"base": 10, "new": 5}, 1), engine_run({"base": 15, "new": 7.5}, 2)
    assert ask(tmp_path, a, b) == 0
    out = capsys.readouterr().out
    assert "no change  new" in out
    assert "not judged base: +" in out


def test_another_machine_and_a_stopped_run_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = engine_run({"base": 10}, 1), engine_run({"base": 10}, 2)
    b["machine"]["cpus"], b["partial"], b["settings"]["rounds"] = 4, True, 9
    ask(tmp_path, a, b)
    out = capsys.readouterr().out
    assert "note: run B was stopped early" in out
    assert "note: cpus: 2 in A, 4 in B" in out
    assert "note: rounds was 100 in A and 9 in B" in out


def accuracy_run(ap: float | None) -> dict[str, Any]:
    row = {"box": {"ap": 0.3}, "mask": {"ap": ap}, "data_sha256": "1", "images": 5}
    return run_document("accuracy", accuracy={"m/torch": {"set": row}})


def test_less_ap_is_a_regression_in_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, accuracy_run(0.25), accuracy_run(0.24)) == 1
    assert "worse      m/torch mask AP on set: -1.00 points, on the same pictures" in capsys.readouterr().out
    assert ask(tmp_path, accuracy_run(0.25), accuracy_run(0.2495)) == 0
    assert ask(tmp_path, accuracy_run(0.25), accuracy_run(0.0)) == 1
    assert ask(tmp_path, accuracy_run(None), accuracy_run(0.1)) == 0


def serve_run(fps: float, age_ms: float, seed: int, speed: float = 1.0, offered: float = 10.0) -> dict[str, Any]:
    """A server of that throughput and age on a machine of that speed, relative to one whose engine makes 25 fps."""
    rng = np.random.default_rng(seed)
    noise = [(1 + 0.01 * rng.standard_normal(40)).tolist() for _ in range(3)]
    load = {
        "offered_fps": offered,
        "frames": {"due": 100, "answered": 95},
        "samples_age_ms": [age_ms / speed * value for value in noise[0]],
    }
    throughput = {
        "samples_served_fps": [fps * speed * value for value in noise[1]],
        "samples_bare_engine_fps": [25.0 * speed * value for value in noise[2]],
    }
    return run_document("serve", loads={"load": load}, throughput=throughput)


def test_a_server_is_held_against_its_bare_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, serve_run(20, 60, 1), serve_run(20, 60, 2)) == 0
    assert ask(tmp_path, serve_run(20, 60, 1), serve_run(20, 60, 2, speed=0.5)) == 0
    assert ask(tmp_path, serve_run(20, 60, 1), serve_run(15, 60, 2)) == 1
    assert "worse      throughput" in capsys.readouterr().out
    assert ask(tmp_path, serve_run(20, 60, 1), serve_run(20, 80, 2)) == 1
    assert "worse      age under load" in capsys.readouterr().out


def test_loads_of_other_rates_are_not_compared_and_fewer_answers_are_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, serve_run(20, 60, 1), serve_run(20, 90, 2, offered=15.0)) == 0
    assert "age under load" not in capsys.readouterr().out
    fewer = serve_run(20, 60, 2)
    fewer["loads"]["load"]["frames"] = {"due": 100, "answered": 50}
    assert ask(tmp_path, serve_run(20, 60, 1), fewer) == 1
    assert "worse      answered share under load: -45.00 points" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "no run\n", "[1]\n", '{"kind": "engine", "schema": 99}\n'])
def test_what_is_no_run_is_told(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert main(["compare", str(path), str(path)]) == 1
    assert str(path) in capsys.readouterr().err


def test_runs_of_two_kinds_and_a_line_without_samples_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = engine_run({"base": 10}, 1)
    assert ask(tmp_path, a, run_document("accuracy", accuracy={})) == 1
    assert "bench engine" in capsys.readouterr().err
    del a["subjects"]["base"]["samples_ms"]
    assert ask(tmp_path, a, a) == 1
    assert "has no samples: compare the files that --out wrote" in capsys.readouterr().err


def test_steps_of_training_are_judged_and_its_loader_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train_run(median: float, cpu_ms: float, seed: int) -> dict[str, Any]:
        samples = np.random.default_rng(seed).normal(cpu_ms, 0.1, 16).tolist()
        loader = {"2": {"samples_cpu_ms_a_picture": samples}}
        return engine_run({"base": 10, "bfloat16": median}, seed) | {"kind": "train", "loader": loader}

    assert ask(tmp_path, train_run(5, 20, 1), train_run(6, 30, 2)) == 1
    out = capsys.readouterr().out
    assert "worse      bfloat16: +" in out
    assert "not judged loader of 2 processes: +" in out


def test_an_export_is_held_against_the_base_of_its_own_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def export_run(median: float, seed: int, speed: float = 1.0) -> dict[str, Any]:
        medians = {"a/onnxruntime": 10 * speed, "a/openvino": median * speed, "b/onnxruntime": 20 * speed}
        run = engine_run(medians, seed) | {"kind": "export", "base": ""}
        for name, subject in run["subjects"].items():
            subject["base"] = f"{name[0]}/onnxruntime"
        return run

    assert ask(tmp_path, export_run(5, 1), export_run(5, 2, speed=1.5)) == 0
    assert "not judged b/onnxruntime" in capsys.readouterr().out
    assert ask(tmp_path, export_run(5, 1), export_run(6, 2)) == 1
    assert "worse      a/openvino: +" in capsys.readouterr().out
