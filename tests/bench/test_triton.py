"""The comparison with Triton: what can be told without it, and, where it can be installed, all of it in small."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import triton_environment
from bench.cli import main
from bench.table import page
from bench.triton import (
    Comparison,
    TritonArguments,
    agreements,
    on_onnx_runtime,
    rejecting,
    saturation_report,
    setups,
)
from bench.triton_environment import UnavailableError, make_environment, pinned, reason_of
from bench.triton_server import ROOT, QueuePolicy, Setup, Work, config_text, write_repository
from bench.triton_subjects import agreement, require_alike
from bench.triton_table import best_of_each
from scene.errors import DataError, ServerError
from scene.image import RgbImage
from serve.answer import Answer, FoundInstance, MaskRegion, StageTimes
from serve.frame import EncodedFrame
from tests.bench.test_compare import ask, run_document
from tests.serve.tiny_model import street, write_tiny_model

WORK = Work(Path("/models/street/1"), "openvino", "int8")


def answer(*boxes: tuple[int, int, int, int], class_index: int = 0) -> Answer:
    """An instance for each box, which its mask fills, on a frame of 64x32."""
    found = []
    for x1, y1, x2, y2 in boxes:
        full = "".join(["0", chr(48 + (x2 - x1) * (y2 - y1))])  # run lengths below 16 are one character each
        mask = MaskRegion((x1, y1), (y2 - y1, x2 - x1), full)
        found.append(FoundInstance(class_index, "car", 0.9, 0.9, (x1, y1, x2, y2), mask))
    return Answer("street", 1, (32, 64), tuple(found), StageTimes())


def test_nothing_found_says_nothing_about_the_work() -> None:
    with pytest.raises(DataError, match="neither server found anything"):
        agreement([answer()], [answer()])


def test_equal_answers_agree_and_a_shifted_one_is_measured() -> None:
    ours = answer((0, 0, 3, 4), (8, 8, 12, 11))
    alike = agreement([ours], [ours])
    assert (alike.instances, alike.matched, alike.box_error_px, alike.mask_iou) == (2, 1.0, 0.0, 1.0)
    first, second = ours.instances
    moved = replace(first, score=0.8, box_xyxy=(0.5, 0, 3.5, 4))
    alike = agreement([ours], [replace(ours, instances=(second, moved))])
    assert alike.score_error == pytest.approx(0.1)
    assert (alike.matched, alike.box_error_px, alike.least_mask_iou) == (1.0, 0.5, 1.0)


@pytest.mark.parametrize("theirs", [answer(), answer((0, 0, 3, 4), class_index=1), answer((9, 9, 12, 13))])
def test_a_server_that_answers_otherwise_is_not_timed(theirs: Answer) -> None:
    found = agreement([answer((0, 0, 3, 4))], [theirs])
    with pytest.raises(DataError, match="expected the same answers of both servers"):
        require_alike(found)


def test_a_queue_has_no_policy_in_its_configuration_and_a_bounded_one_has() -> None:
    queue = config_text(Setup("queue", 1, 2), WORK)
    assert "dynamic_batching" not in queue
    assert "instance_group [ { count: 1 kind: KIND_CPU } ]" in queue
    assert 'parameters { key: "threads" value: { string_value: "2" } }' in queue
    assert 'parameters { key: "folder" value: { string_value: "/models/street/1" } }' in queue
    bounded = config_text(Setup("b", 2, 1, QueuePolicy(40_000, 3)), WORK)
    assert "timeout_action: REJECT default_timeout_microseconds: 40000 max_queue_size: 3" in bounded


def test_the_repository_holds_each_setup(tmp_path: Path) -> None:
    shapes = setups(2, WORK, on_onnx_runtime(WORK))
    write_repository(tmp_path, shapes)
    texts = {path.parent.name: path.read_text() for path in tmp_path.glob("*/config.pbtxt")}
    assert texts.keys() == {setup.name for setup in shapes} and len(texts) == 12
    assert len(list(tmp_path.glob("*/1/model.py"))) == 12
    assert '"engine" value: { string_value: "openvino" }' in texts["queue-2x1"]
    assert '"engine" value: { string_value: "onnxruntime" }' in texts["ort-queue-2x1"]


def test_the_engine_that_triton_would_have_anyway_is_there_once() -> None:
    assert on_onnx_runtime(Work(Path("m"), "onnxruntime", "float32")) is None
    assert on_onnx_runtime(Work(Path("m"), "tensorrt", "float16")) is None
    assert on_onnx_runtime(Work(Path("m"), "openvino", "bfloat16")) == Work(Path("m"), "onnxruntime", "float32")
    assert len(setups(2, WORK)) == 6


def test_what_rejects_is_overloaded_with_the_queue_of_its_engine_and_instances() -> None:
    models = {setup: FakeSubject(setup.name, 10) for setup in setups(2, WORK, on_onnx_runtime(WORK))}
    paired = {queue: sorted(model.name for model in found) for queue, found in rejecting(models).items()}
    assert paired.keys() == {"queue-1x2", "queue-2x1", "ort-queue-1x2", "ort-queue-2x1"}
    assert paired["queue-2x1"] == ["bounded-2x1", "expiring-2x1"]
    assert paired["ort-queue-1x2"] == ["ort-bounded-1x2", "ort-expiring-1x2"]


def test_another_engine_is_held_against_what_is_expected_of_it() -> None:
    ours, other = [answer((0, 0, 3, 4))], [answer((0, 0, 3, 4), (8, 8, 12, 11))]
    found = agreements({"streetmask-1x2": ours, "queue-1x2": ours, "ort-queue-1x2": other}, other)
    assert {name: each["matched"] for name, each in found.items()} == {"queue-1x2": 1.0, "ort-queue-1x2": 0.5}
    for wrong in ({"queue-1x2": other}, {"ort-queue-1x2": ours}):
        with pytest.raises(DataError, match="expected the same answers of both servers"):
            agreements({"streetmask-1x2": ours} | wrong, other)


@pytest.mark.parametrize(("cpus", "shapes"), [(1, {(1, 1), (2, 1)}), (2, {(1, 2), (2, 1)}), (8, {(1, 8), (2, 4)})])
def test_instances_share_the_cpus(cpus: int, shapes: set[tuple[int, int]]) -> None:
    assert {(setup.instances, setup.threads) for setup in setups(cpus, WORK)} == shapes


def test_ratios_need_eight_windows() -> None:
    few = saturation_report({"streetmask-1x2": [20.0] * 7, "queue-1x2": [10.0] * 7})
    assert few["ours_over"] == {"streetmask-1x2": {}} and few["fps"] == {"streetmask-1x2": 20.0, "queue-1x2": 10.0}
    many = saturation_report({"streetmask-1x2": [20.0] * 8, "queue-1x2": [10.0] * 8})
    assert many["ours_over"]["streetmask-1x2"]["queue-1x2"] == {"ratio": 2.0, "low": 2.0, "high": 2.0}


def load(subject: str, kind: str, fps: float, p95: float) -> dict[str, Any]:
    age = {"count": 9, "median": p95 / 2, "p90": p95, "p95": p95, "p99": p95, "max": p95}
    counts = {"answered": 9, "dropped": 3, "due": 12}
    more = {"late_ms": {"count": 0}, "errors": [], "ending": "whole"}
    return {
        "subject": subject,
        "load": kind,
        "offered_fps": 60.0,
        "answered_fps": fps,
        "frames": counts,
        "age_ms": age,
    } | more


class FakeSubject:
    """A server of a steady rate that writes down what it was asked."""

    def __init__(self, name: str, fps: float, ending: str = "whole") -> None:
        self.name, self.fps, self.ending = name, fps, ending
        self.rates: list[tuple[float, ...]] = []

    def closed_fps(self, clients: int) -> float:
        return self.fps * clients

    def load(self, rates: tuple[float, ...], seconds: float) -> dict[str, Any]:
        self.rates.append(rates)
        return load(self.name, "", self.fps, 50.0) | {"ending": self.ending}


def test_each_is_overloaded_by_its_own_capacity_and_by_the_same_load() -> None:
    arguments = TritonArguments(Path("m"), clients=(1, 2), windows=8, streams=2, overload=1.5)
    ours, queue, bounded = (
        FakeSubject("streetmask-1x2", 10),
        FakeSubject("queue-1x2", 5),
        FakeSubject("bounded-1x2", 99),
    )
    run = Comparison(arguments, [ours, queue], {"queue-1x2": [bounded]})
    run.run()
    assert run.found["saturation"]["2"]["fps"] == {"streetmask-1x2": 20.0, "queue-1x2": 10.0}
    assert ours.rates == [(15.0, 15.0), (15.0, 15.0)]
    assert queue.rates == bounded.rates == [(7.5, 7.5), (15.0, 15.0)]
    assert (run.stopped, run.error, len(run.found["loads"])) == (False, "", 6)


def test_a_server_that_stalls_ends_the_run_and_leaves_what_was_measured() -> None:
    arguments = TritonArguments(Path("m"), clients=(2,), windows=1)
    run = Comparison(arguments, [FakeSubject("streetmask-1x2", 10), FakeSubject("queue-1x2", 5, "stalled")], {})
    run.run()
    assert run.error == "queue-1x2, 1.5 x its own left frames unanswered; it was given up"
    assert len(run.found["loads"]) == 3


def test_before_anything_was_measured_an_error_is_raised() -> None:
    class Dead(FakeSubject):
        def closed_fps(self, clients: int) -> float:
            raise ServerError("gone")

    with pytest.raises(ServerError, match="gone"):
        Comparison(TritonArguments(Path("m")), [Dead("streetmask-1x2", 1)], {}).run()


def test_the_lock_gives_versions_to_all_but_what_must_differ() -> None:
    wanted = pinned((ROOT / "requirements.lock").read_text())
    assert "numpy<2" in wanted and "opencv-python-headless<5" in wanted
    assert [line.partition("==")[0] for line in wanted if line.startswith(("onnxruntime", "openvino"))] == [
        "onnxruntime",
        "openvino",
    ]
    assert all("=" in line or "<" in line for line in wanted)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "pip said nothing"),
        ("a\nkilled\n", "killed"),
        ("WARNING: x\nERROR: No matching distribution found for y.\nERROR: z", "No matching distribution found for y"),
    ],
)
def test_the_reason_is_pips_own_first_error(output: str, reason: str) -> None:
    assert reason_of(output) == reason


def test_what_pip_cannot_install_is_told_and_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_environment, "REQUIREMENTS", (str(tmp_path / "no-such-package"),))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"Triton could not be installed: .*no-such-package"):
            make_environment(tmp_path / "environment")


def test_where_triton_cannot_be_the_run_says_why_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(triton_environment, "ROOT", tmp_path)
    assert main(["triton", "models/street-nano/1", "--out", str(tmp_path / "run.json")]) == 0
    told = capsys.readouterr()
    assert "Triton is not compared: Triton's model runs from a clone" in told.err
    run = json.loads(told.out.splitlines()[-1])
    assert run["skipped"].startswith("Triton's model runs from a clone") and not run["partial"]
    assert json.loads((tmp_path / "run.json").read_text())["skipped"] == run["skipped"]
    assert "## Against Triton" in page([run])
    assert f"Not measured here: {run['skipped']}." in page([run])


def triton_document(ours: list[float]) -> dict[str, Any]:
    windows = {"streetmask-1x2": ours, "queue-1x2": [10.0] * 8, "ort-queue-1x2": [8.0] * 8}
    saturation = {"2": saturation_report(windows)}
    loads = {
        "streetmask-1x2, 30 fps": load("streetmask-1x2", "same", 19.0, 40.0),
        "queue-1x2, 15 fps": load("queue-1x2", "own", 99.0, 1.0),
        "queue-1x2, 30 fps": load("queue-1x2", "same", 18.0, 900.0),
        "bounded-1x2, 30 fps": load("bounded-1x2", "same", 12.0, 70.0),
        "expiring-1x2, 30 fps": load("expiring-1x2", "same", 3.0, 60.0),
    }
    loads["ort-queue-1x2, 30 fps"] = load("ort-queue-1x2", "same", 14.0, 950.0)
    alike = {"queue-1x2": {"matched": 1.0, "mask_iou": 0.99}, "ort-queue-1x2": {"matched": 0.8, "mask_iou": 0.9}}
    facts = {"triton": {"triton": "2.51.0"}, "idle_cpu_share": {"triton": 0.01}, "agreement": alike}
    run = run_document("triton", saturation=saturation, loads=loads, **facts)
    run["machine"] |= {"python": "3.11.7", "commit": "abc", "system": "Linux"}
    run["settings"] = {"runs_on": "openvino in int8", "frame_size": [1280, 720], "frames": None, "jpeg_quality": 90}
    run["settings"] |= {"windows": 8, "streams": 4, "seconds": 6.0}
    return run


def test_the_best_of_each_side_is_of_the_load_that_was_the_same_for_all() -> None:
    assert best_of_each({}) == {}
    best = best_of_each(triton_document([20.0] * 8)["loads"])
    most = {side: found["most"]["answered_fps"] for side, found in best.items()}
    assert most == {"StreetMask": 19.0, "Triton on the same engine": 18.0, "Triton on ONNX Runtime": 14.0}
    assert best["Triton on the same engine"]["youngest"]["subject"] == "bounded-1x2"


def test_the_page_shows_throughput_overload_and_what_is_idle() -> None:
    text = page([triton_document([20.0] * 8)])
    assert "| 2 | `queue-1x2` | 10.0 | 2.000 (2.000 to 2.000) |" in text
    assert "| bounded-1x2, 30 fps | 60.0 | 12.0 | 3 of 12 | 0 | 35.0 | 70.0 | 70.0 | 70.0 |" in text
    assert "Answers on the same engine: 100.0% of instances shared with ours, mean mask IoU 0.9900." in text
    assert "Answers on ONNX Runtime, which computes the file in its own way: 80.0% of instances shared" in text
    assert "youngest as `bounded-1x2` 12.0 fps at an age of 70 ms (p95)." in text
    assert "Left alone, all models loaded, of one CPU: triton 1.0%." in text


def test_a_server_that_fell_behind_triton_is_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, triton_document([20.0] * 8), triton_document([20.0] * 8)) == 0
    assert ask(tmp_path, triton_document([20.0] * 8), triton_document([15.0] * 8)) == 1
    told = capsys.readouterr().out
    assert "worse      streetmask-1x2 with 2 client(s): -25.0 % (-25.0 to -25.0 %), against queue-1x2" in told
    assert "not judged streetmask-1x2 with 2 client(s): -25.0 % (-25.0 to -25.0 %), against ort-queue-1x2" in told


def write_pictures(folder: Path) -> Path:
    pictures: list[RgbImage] = [street((0, (8 * n, 16, 8 * n + 40, 48)), (2, (96, 16, 128, 48))) for n in range(3)]
    folder.mkdir()
    for number, picture in enumerate(pictures):
        (folder / f"{number}.jpg").write_bytes(EncodedFrame.jpeg(picture, 95).data)
    return folder


@pytest.mark.slow
def test_a_real_triton_answers_alike_and_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        environment = make_environment(ROOT / ".venv-triton")
    except UnavailableError as error:
        pytest.skip(str(error))
    model, pictures = write_tiny_model(tmp_path / "tiny" / "3"), write_pictures(tmp_path / "pictures")
    words = ["triton", str(model), "--environment", str(environment), "--frames", str(pictures), "--engine"]
    words += [
        "openvino",
        "--precision",
        "float32",
        "--clients",
        "2",
        "--windows",
        "8",
        "--seconds",
        "1",
        "--streams",
        "2",
    ]
    assert main(words) == 0
    run = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert run["triton"]["triton"] == "2.51.0"
    assert set(run["agreement"]) == {*run["configurations"], "streetmask-2x1"}
    assert sum(name.startswith("ort-") for name in run["configurations"]) == 6
    assert all(found["matched"] == 1 and found["instances"] == 6 for found in run["agreement"].values())
    assert len(run["loads"]) == 28
    assert all(load["frames"]["answered"] > 0 and not load["errors"] for load in run["loads"].values())
    assert all(set(load["frames"]) <= {"due", "answered", "dropped"} for load in run["loads"].values())
    assert "queue-2x" in page([run])
