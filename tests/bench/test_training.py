"""The whole command with a tiny network: it trains, loads, and says what each took."""

import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.cli import main
from bench.machine import GpuBusy
from bench.steps import Source, TrainSubject, open_training, timed_step
from scene.errors import DataError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import save_checkpoint
from training.feed import feed


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench-train") / "tiny.pt"
    save_checkpoint(path, seeded_network())
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    objects = [annotation(n, rle(rectangle(TINY.size_hw, (10 * n, 8, 60, 50))), category_id=3) for n in (1, 2, 3)]
    return write_coco(tmp_path_factory.mktemp("data"), TINY.size_hw, 3, objects)


def report_of(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_nothing_asked_is_nothing_measured(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(checkpoint), "--data", str(data), "--rounds", "0", "--windows", "0", "--fed-steps", "0"]
    assert main([*words, "--out", str(tmp_path / "run.json")]) == 0
    report = report_of(tmp_path / "run.json")
    assert (report["kind"], report["subjects"], report["loader"], report["fed"]) == ("train", {}, {}, None)
    assert json.loads(capsys.readouterr().out) == report


def test_steps_loader_and_both_together_are_timed(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(checkpoint), "--data", str(data), "--threads", "1", "--rounds", "8", "--warmup", "1"]
    words += ["--forms", "float32/channels_last", "bfloat16/channels_last", "--pictures", "3"]
    words += ["--window", "4", "--workers", "0", "1"]
    assert main([*words, "--fed-steps", "2", "--out", str(tmp_path / "run.json")]) == 0
    printed = capsys.readouterr().out.splitlines()
    report = report_of(tmp_path / "run.json")
    assert report["base"] == f"{checkpoint}/float32/channels_last/b2"
    assert list(report["subjects"]) == [report["base"], f"{checkpoint}/bfloat16/channels_last/b2"]
    for subject in report["subjects"].values():
        samples = subject["samples_ms"]
        assert len(samples["total"]) == len(samples["cpu"]) == 8
        middle = sorted(samples["total"])[3:5]
        assert subject["images_a_second"] == pytest.approx(2 * 2000 / sum(middle), rel=1e-3)
        assert subject["host_peak_bytes"] > 1 << 20
        assert subject["device_peak_bytes"] is None
    assert report["subjects"][report["base"]]["times_base"] == {"ratio": 1, "low": 1, "high": 1}
    assert [run["window"] for run in report["loader"].values()] == [4, 4]
    for workers, run in report["loader"].items():
        assert len(run["samples_cpu_ms_a_picture"]) == 8
        assert run["images_a_second"] == pytest.approx(
            run["images_a_second_a_process"] * max(int(workers), 1), rel=0.05
        )
    assert report["fed"]["pictures"] == 4
    assert 0 <= report["fed"]["waiting_share"] <= 1
    assert report["fed"]["gpu_busy_share"] is None
    assert any(line.startswith("loader processes") for line in printed)
    assert "samples_ms" not in json.loads(printed[-1])["subjects"][report["base"]]


def test_generated_pictures_are_learned_from_as_well(checkpoint: Path, tmp_path: Path) -> None:
    words = ["train", str(checkpoint), "--rounds", "0", "--windows", "8", "--window", "1", "--batch", "1"]
    words += ["--workers", "0", "--fed-steps", "0", "--pictures", "2", "--size", "128x64"]
    assert main([*words, "--out", str(tmp_path / "run.json")]) == 0
    report = report_of(tmp_path / "run.json")
    assert report["settings"]["data"] == "generated, 128x64"
    assert report["loader"]["0"]["images_a_cpu_second"] > 0


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_what_is_timed_learns_in_the_format_that_is_asked_for(checkpoint: Path, data: Path, memory_format: str) -> None:
    subject = TrainSubject(str(checkpoint), "float32", memory_format, batch=2)
    trainer, pictures = open_training(subject, Source(data))
    weight = trainer.network.backbone.state_dict()["layers.0.0.conv2.weight"]
    last = memory_format == "channels_last"
    assert weight.is_contiguous(memory_format=torch.channels_last) == last
    assert weight.is_contiguous() != last
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    sample = timed_step(trainer, next(iter(feed(pictures, 0, workers=0))))
    changed = [name for name, value in trainer.network.state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.startswith("prediction_layers") for name in changed)
    assert sample.total_ms > 0


def test_a_step_that_learns_nothing_is_not_timed(checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, pictures = open_training(TrainSubject(str(checkpoint), "float32", "contiguous", 2), Source(data))
    monkeypatch.setattr(trainer, "train_step", lambda batch: SimpleNamespace(total=torch.tensor(float("nan"))))
    with pytest.raises(DataError, match="the loss is no number"):
        timed_step(trainer, next(iter(feed(pictures, 0, workers=0))))


def test_ctrl_c_keeps_the_steps_that_were_taken(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.training.load_alone", interrupted)
    words = ["train", str(checkpoint), "--data", str(data), "--threads", "1", "--rounds", "8", "--warmup", "0"]
    words += ["--forms", "float32/contiguous", "--out", str(tmp_path / "run.json")]
    assert main(words) == 130
    report = report_of(tmp_path / "run.json")
    assert report["partial"]
    assert len(report["subjects"][report["base"]]["samples_ms"]["total"]) == 8


def test_the_drivers_word_on_how_busy_the_gpu_was_is_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []
    enough = threading.Event()

    def rates(handle: int) -> SimpleNamespace:
        assert handle == 1
        said.append(50 + 10 * len(said))
        if len(said) == 3:
            enough.set()
        return SimpleNamespace(gpu=said[-1])

    driver = SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=lambda index: index, nvmlDeviceGetUtilizationRates=rates
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr("bench.machine._ASK_EVERY_S", 0.001)
    with GpuBusy("cuda:1") as busy:
        assert enough.wait(60)
    assert busy.share == pytest.approx(sum(said) / len(said) / 100)
    with GpuBusy("cpu") as idle:
        pass
    assert idle.share is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing-there"], "targets: expected a model folder, a checkpoint or a preset"),
        (["street-nano", "--rounds", "3"], "rounds: expected 8 or more, or 0, but 3 came"),
        (["street-nano", "--base", "other"], "base: expected one of street-nano/float32/contiguous/b2"),
        (["street-nano", "--forms", "float16/contiguous"], "forms: expected "),
        (["street-nano", "--device", "cuda"], "torch sees no GPU here"),
        (["street-nano", "--data", "none.json"], "none.json"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["train", *words]) == 1
    assert sentence in capsys.readouterr().err
