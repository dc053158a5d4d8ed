"""Models exchanged under load, and the judge of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.swaps import Ledger, SwapPlan, swap_under_load, write_versions
from scene.artifact import MANIFEST, read_artifact
from serve.answer import Answer, StageTimes
from serve.frame import EncodedFrame
from serve.repository import Repository
from streetmask.server_process import server_process
from tests.serve.repository_server import serving, settings, write_repository
from tests.serve.tiny_model import street
from tests.streetmask.conftest import found

ONE, TWO = found(0, (0, 0, 8, 8)), found(1, (0, 0, 8, 8))
FRAMES = [
    EncodedFrame.raw(street((0, (32, 16, 64, 48)))),
    EncodedFrame.raw(street((1, (0, 16, 32, 48)), (2, (96, 16, 128, 48)))),
]


def answered(version: int, *instances: object) -> Answer:
    return Answer("tiny", version, (64, 128), instances, StageTimes())  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger({1: [(ONE,)], 2: [(TWO,)]}, first=1)


def test_without_deployments_the_first_version_answers(ledger: Ledger) -> None:
    assert ledger.note(ledger.floor, 0, answered(1, ONE), 0.0) == 0
    assert ledger.counts == {"answered": 1}


def test_another_versions_answer_is_wrong(ledger: Ledger) -> None:
    ledger.note(0, 0, answered(1, TWO), 0.0)
    ledger.note(0, 0, answered(1, replace(ONE, score=0.91)), 0.0)
    ledger.note(0, 0, answered(1), 0.0)
    assert ledger.counts["wrong"] == 3
    assert ledger.complaints[0] == "the answer to frame 0 is not that of version 1"


def test_a_version_that_was_never_deployed_or_is_not_yet_is_wrong(ledger: Ledger) -> None:
    ledger.note(0, 0, answered(2, TWO), 0.0)
    ledger.note(0, 0, answered(9, TWO), 0.0)
    assert ledger.counts["wrong"] == 2


def test_while_a_deployment_runs_both_may_answer_and_afterwards_the_former_may_not(ledger: Ledger) -> None:
    ledger.begin(2)
    assert ledger.note(ledger.floor, 0, answered(1, ONE), 0.0) == 0
    assert ledger.note(ledger.floor, 0, answered(2, TWO), 0.0) == 1
    assert ledger.counts["wrong"] == 0
    ledger.note(1, 0, answered(1, ONE), 0.0)
    assert ledger.counts["wrong"] == 1, "the same caller has seen version 2 before"
    begun_before = ledger.floor
    ledger.end()
    ledger.note(begun_before, 0, answered(1, ONE), 0.0)
    assert ledger.counts["wrong"] == 1, "it was asked for before the deployment had ended"
    ledger.note(ledger.floor, 0, answered(1, ONE), 0.0)
    assert ledger.counts["wrong"] == 2


def swapped(tmp_path: Path, plan: SwapPlan) -> dict[str, object]:
    """Against a server with a third version that cannot be served."""
    root = write_repository(tmp_path, 1, 2, 3)
    manifest = root / "tiny" / "3" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0'))
    with serving(root / "tiny" / "1", settings()) as server:
        return swap_under_load(server.address, root, plan, FRAMES)


def check(report: dict[str, object], plan: SwapPlan) -> None:
    assert report["complaints"] == []
    assert (report["failed"], report["wrong"]) == (0, 0)
    assert (report["swaps"], report["refused"]) == (plan.count, plan.windows)
    latency_ms = report["latency_ms"]
    assert isinstance(latency_ms, dict)
    assert latency_ms["swapping"]["count"] > 0
    assert latency_ms["quiet"]["count"] > 0


def test_fifty_swaps_under_load_fail_no_call_and_give_no_wrong_answer(tmp_path: Path) -> None:
    plan = SwapPlan(count=50, broken=3)
    check(swapped(tmp_path, plan), plan)


@pytest.mark.slow
def test_a_thousand_swaps_under_load_fail_no_call_and_give_no_wrong_answer(tmp_path: Path) -> None:
    plan = SwapPlan(count=1000, windows=20, streams=4, callers=4, broken=3)
    check(swapped(tmp_path, plan), plan)


def test_swaps_by_several_processes_fail_no_frame_and_are_answered_when_all_have_swapped(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "models", 1, 2, 3)
    (root / "tiny" / "3" / "model.onnx").write_bytes(b"none")
    options = ["--workers", "2", "--engine", "onnxruntime", "--threads", "1", "--pin", "tiny=2"]
    with server_process(root, options) as server:
        found = swap_under_load(server.address, root, SwapPlan(12, windows=2, streams=4, callers=4, broken=3), FRAMES)
    assert found["swaps"] == 12
    assert found["refused"] == 2
    assert (found["failed"], found["wrong"], found["complaints"]) == (0, 0, [])


def test_two_versions_of_a_folder_are_one_network_that_draws_otherwise(tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "models", 2) / "tiny" / "2"
    root = write_versions(folder, tmp_path / "copies")
    first, second = (read_artifact(root / "tiny" / number) for number in ("1", "2"))
    assert (first.version, second.version) == (1, 2)
    assert first.files == second.files
    assert first.thresholds == [0.3, 0.3, 0.3]
    assert second.thresholds == [0.5, 0.5, 0.5]
    assert Repository(root).versions("tiny") == [1, 2]
