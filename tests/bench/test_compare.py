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
    assert capsys.readouterr().out.count("no change") == 2


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
    ask(tmp_path, a, b)
    assert "no change  new" in capsys.readouterr().out


def test_another_machine_and_a_stopped_run_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = engine_run({"base": 10}, 1), engine_run({"base": 10}, 2)
    b["machine"]["cpus"], b["partial"], b["settings"]["rounds"] = 4, True, 9
    ask(tmp_path, a, b)
    out = capsys.readouterr().out
    assert "note: run B was stopped early" in out
    assert "note: cpus: 2 in A, 4 in B" in out
    assert "note: rounds was 100 in A and 9 in B" in out


def test_less_ap_is_a_regression_and_less_throughput_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def accuracy(ap: float) -> dict[str, Any]:
        return run_document("accuracy", accuracy={"m/torch": {"set": {"box": {"ap": 0.3}, "mask": {"ap": ap}}}})

    assert ask(tmp_path, accuracy(0.25), accuracy(0.24)) == 1
    assert "worse      m/torch mask AP on set: -4.0 %" in capsys.readouterr().out
    assert ask(tmp_path, accuracy(0.25), accuracy(0.25005)) == 0

    def served(fps: float) -> dict[str, Any]:
        rng = np.random.default_rng(int(fps))
        found = {"samples_served_fps": (fps * rng.normal(1, 0.01, 40)).tolist(), "samples_bare_engine_fps": [25.0] * 40}
        return run_document("serve", loads={}, throughput=found)

    assert ask(tmp_path, served(20), served(15)) == 1
    assert ask(tmp_path, served(15), served(20)) == 0


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
