"""Who trains which run of a study, and what becomes of runs that are killed or fail."""

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock

from tests.training.small_study import SmallStudy
from training.command import TrainArguments, Training, prepare
from training.study import FAILED, Study
from training.study_plan import of_recipes
from training.study_work import part_of

PATIENCE_S = 120.0
ALONE = 'seeds=[1, 2, 3]\n[rows.a]\nrecipe="nano"\nstart="yolact++"\n'
"""The network is the start's own, since other processes have no preset "tiny"."""


def test_what_is_finished_is_not_trained_again_and_what_was_killed_goes_on(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[TrainArguments, int]] = []

    def killed_in_the_second(arguments: TrainArguments) -> Training:
        ready = prepare(arguments)
        ready.trainer.take_up()
        trained.append((arguments, ready.trainer.step))
        if len(trained) == 2:
            save = ready.trainer.save

            def dies(*words: str) -> None:
                save(*words)
                if not words:
                    raise KeyboardInterrupt

            monkeypatch.setattr(ready.trainer, "save", dies)
        return ready

    monkeypatch.setattr("training.study_work.prepare", killed_in_the_second)
    words = ("--recipes", "plus-head", "plus-full", "--seeds", "3", "4")
    assert study(*words) == 130
    assert sorted(study.results()) == [("plus-head", "seed-3")]
    assert study(*words) == 0
    assert [(each.recipe, each.seed, step) for each, step in trained] == [
        ("plus-head", 3, 0), ("plus-full", 3, 0), ("plus-full", 3, 1), ("plus-head", 4, 0), ("plus-full", 4, 0)
    ]  # fmt: skip
    assert study(*words) == 0
    assert len(trained) == 5


def test_a_run_that_another_process_is_at_is_waited_for_and_taken_up_once_it_is_free(
    study: SmallStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = study.out / "plus-head" / "seed-1"
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".lock")
    waits: list[float] = []

    def dies_in_the_second(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            lock.release()

    monkeypatch.setattr("training.study_work.sleep", dies_in_the_second)
    with lock:
        assert study("--recipes", "plus-head", "plus-full", "--seeds", "1") == 0
    said = capsys.readouterr().out
    assert said.count("plus-head, seed 1: another process is at it") == 1
    assert said.index("plus-full, seed 1: begins") < said.index("plus-head, seed 1: begins")
    assert "runs are not finished" not in study.report()


def test_a_run_that_fails_stops_no_other_and_says_why_until_it_succeeds(
    study: SmallStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(arguments: TrainArguments) -> Training:
        if arguments.recipe == "plus-head":
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return prepare(arguments)

    words = ("--recipes", "plus-head", "plus-full", "--seeds", "1")
    with monkeypatch.context() as patch:
        patch.setattr("training.study_work.prepare", fails)
        assert study(*words) == 1
    reason = "plus-head, seed 1: RuntimeError: CUDA out of memory. Tried to allocate"
    assert capsys.readouterr().out.count(reason) == 2  # as it failed, and in the report
    assert f"Runs that failed:\n\n- {reason}\n\n1 of 2 runs are not finished." in study.report()
    assert sorted(study.results()) == [("plus-full", "seed-1")]
    assert "Traceback" in (study.out / "plus-head" / "seed-1" / FAILED).read_text()
    assert study(*words) == 0
    assert "failed" not in study.report()
    assert not [*study.out.glob(f"*/*/{FAILED}")]


def test_processes_share_the_runs_end_with_the_one_that_started_them_and_are_gone_on_from(study: SmallStudy) -> None:
    plan = study.plan(ALONE)
    words = [sys.executable, "-m", "streetmask", "study", *study.words, "--plan", str(plan), "--processes", "2"]
    with (study.folder / "said").open("w") as said, subprocess.Popen(words, stdout=said) as started:
        try:
            finished: dict[Path, int] = {}
            begun: list[str] = []
            while not finished or len(begun) < 2:
                finished = {path: path.stat().st_mtime_ns for path in study.out.glob("a/*/result.json")}
                begun = re.findall(r"a, seed .: begins", (study.folder / "said").read_text())
                assert started.poll() is None
                time.sleep(0.05)
            children = psutil.Process(started.pid).children(recursive=True)
        finally:
            started.kill()
    assert len(children) >= 2
    assert psutil.wait_procs(children, PATIENCE_S)[1] == []
    assert len({*begun}) == len(begun) >= 2
    assert study("--plan", plan, preset=()) == 0
    assert len(study.results()) == 3
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_each_of_several_processes_has_its_share_of_cores_and_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(of_recipes(("plus-full",)), {}, TrainArguments((tmp_path,), tmp_path))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    bases = [part_of(study, index, 3).base for index in range(3)]
    assert [(base.threads, base.device) for base in bases] == [(1, "cuda:0"), (1, "cuda:1"), (1, "cuda:0")]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert part_of(study, 1, 2).base.threads == 2
    assert part_of(study, 1, 2).base.device == "auto"
