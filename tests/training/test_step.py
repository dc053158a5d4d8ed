from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from scene.errors import DataError
from tests.model.tiny_network import seeded_network
from tests.training.runs import RECIPE, log_of, pictures, run, trainer
from training.batch_norm import statistics
from training.checkpoint import read_checkpoint
from training.class_losses import ClassLossSettings
from training.data.coco import CocoDataset
from training.feed import Batch, feed
from training.loop import LAST
from training.losses import LossSettings
from training.matching import Targets
from training.step import OVERFLOW, Outcome


@pytest.mark.parametrize(
    ("layer", "named"), [("backbone.conv1.weight", "the network's answer"), ("semantic_seg_conv.bias", "the loss")]
)
def test_ten_steps_without_a_number_stop_the_run_with_advice(
    tmp_path: Path, street: CocoDataset, layer: str, named: str
) -> None:
    broken = trainer(tmp_path, replace(RECIPE, steps=30))
    with torch.no_grad():
        broken.network.get_parameter(layer)[0] = float("nan")
    before = {name: tensor.clone() for name, tensor in broken.network.state_dict().items()}
    with pytest.raises(DataError, match=f"^{named} was no number in 10 steps in a row, up to step 10.*below 0.002$"):
        run(broken, street)
    assert not (tmp_path / LAST).exists()
    for name, tensor in broken.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)
    log = log_of(tmp_path)
    assert [line["skipped"] for line in log] == list(range(1, 11))
    assert {line["problem"] for line in log} == {named}
    assert log[0]["total"] is None or named == "the network's answer"


def test_the_advice_names_the_last_checkpoint(tmp_path: Path, street: CocoDataset) -> None:
    broken = trainer(tmp_path, replace(RECIPE, steps=30, precision="bfloat16"), checkpoint_every=5)
    with torch.no_grad():
        broken.network.get_parameter("semantic_seg_conv.bias")[0] = float("inf")
    with pytest.raises(DataError, match=rf"train with --start \S+/{LAST}, .* or --precision float32$"):
        run(broken, street)
    assert read_checkpoint(tmp_path / LAST)["failures_in_a_row"] == 5


def test_a_step_without_a_number_is_skipped_and_counted(
    tmp_path: Path, street: CocoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad steps apart from each other never stop a run; the others are learned, BatchNorm's statistics too."""
    monkeypatch.setattr("training.loop.MOST_FAILURES", 2)
    recipe = replace(RECIPE, steps=8, ema_decay=0.9)
    shaky = trainer(tmp_path, recipe)
    weights = shaky.network.get_parameter("backbone.conv1.weight")
    real, seen = shaky.learner.learn, []

    def learn(batch: Batch, step: int) -> Outcome:
        kept = weights.detach().clone()
        if step % 3 == 1:
            with torch.no_grad():
                weights[0] = float("inf")
        before = [tensor.clone() for tensor in (*statistics(shaky.network), shaky.learner.counts.seen)]
        outcome = real(batch, step)
        after = [*statistics(shaky.network), shaky.learner.counts.seen]
        seen.append(all(torch.equal(old, new) for old, new in zip(before, after, strict=True)))
        if step % 3 == 1:
            with torch.no_grad():
                weights.copy_(kept)
        return outcome

    monkeypatch.setattr(shaky.learner, "learn", learn)
    run(shaky, street)
    assert seen == [step % 3 == 1 for step in range(8)]
    assert [line["skipped"] for line in log_of(tmp_path)] == [(step + 2) // 3 for step in range(8)]
    assert read_checkpoint(tmp_path / LAST)["averaged"]["updates"] == 5
    assert all(bool(torch.isfinite(tensor).all()) for tensor in read_checkpoint(tmp_path / LAST)["model"].values())


def test_a_step_is_no_longer_than_clipped(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, clip_norm=1e-2, weight_decay=0.0, warmup_steps=0, learning_rate=0.5)
    clipped = trainer(tmp_path, recipe)
    before = [parameter.detach().clone() for parameter in clipped.network.parameters()]
    batch = next(iter(feed(pictures(street, recipe), 0, workers=0)))
    clipped.train_step(batch)
    moved = [new.detach() - old for new, old in zip(clipped.network.parameters(), before, strict=True)]
    length = float(torch.stack([part.norm() for part in moved]).norm())
    assert length == pytest.approx(0.5 * 1e-2, rel=0.02)


def test_bfloat16_answers_nearly_as_float32(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, losses=LossSettings())
    batch = next(iter(feed(pictures(street, recipe), 0, workers=0)))
    totals = []
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for precision in precisions:
        step = trainer(tmp_path, replace(recipe, precision=precision)).train_step(batch)
        totals.append(step.total)
    assert totals[1] == pytest.approx(totals[0], rel=0.05)
    assert totals[1] != totals[0]


@pytest.mark.parametrize("kind", ["ohem", "balanced-ohem", "focal"])
def test_a_batch_in_parts_is_the_whole_batch(
    tmp_path: Path, street: CocoDataset, kind: Literal["ohem", "balanced-ohem", "focal"]
) -> None:
    """Losses and gradients, on stored statistics; of the parts of three pictures one has no object."""
    recipe = replace(RECIPE, batch=6, losses=LossSettings(classes=ClassLossSettings(kind), masks_per_picture=2))
    found = []
    for parts in (1, 2, 6):
        learner = trainer(tmp_path, replace(recipe, accumulate=parts, batch_norm="stored"), seeded_network()).learner
        batch = next(iter(feed(pictures(street, recipe), 0, workers=0)))
        empty = Targets(*(field[:0] for field in batch.targets[0]))
        outcome = learner.learn(batch._replace(targets=[*batch.targets[:5], empty]), 0)
        gradients = torch.cat(
            [parameter.grad.flatten() for parameter in learner.parameters if parameter.grad is not None]
        )
        found.append((outcome, gradients))
    (whole, slopes), *others = found
    for outcome, gradients in others:
        assert outcome.terms == pytest.approx(whole.terms, rel=1e-5)
        assert outcome.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-5)
        assert float((gradients - slopes).norm() / slopes.norm()) < 1e-5


def test_float16_learns_nearly_as_float32(tmp_path: Path, street: CocoDataset) -> None:
    """Its gradients are scaled, and what is told and learned is not."""
    recipe = replace(RECIPE, losses=LossSettings(), batch_norm="stored", clip_norm=0.0, warmup_steps=0)
    batch = next(iter(feed(pictures(street, recipe), 0, workers=0)))
    plain = trainer(tmp_path, replace(recipe, precision="float32"), seeded_network())
    half = trainer(tmp_path, replace(recipe, precision="float16"), seeded_network())
    expected, outcome = plain.train_step(batch), half.train_step(batch)
    while outcome.problem == OVERFLOW:
        outcome = half.train_step(batch)
    assert outcome.scale > 1
    assert outcome.problem == ""
    assert outcome.total == pytest.approx(expected.total, rel=0.02)
    assert outcome.total != expected.total
    assert outcome.gradient_norm == pytest.approx(expected.gradient_norm, rel=0.05)


def test_a_scale_that_is_too_high_is_no_failure(
    tmp_path: Path, street: CocoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It halves until the gradient fits; only where it has come down to 1 is the gradient to blame."""
    monkeypatch.setattr("training.loop.MOST_FAILURES", 2)
    recipe = replace(RECIPE, precision="float16", steps=6, batch_norm="stored")
    high = trainer(tmp_path / "high", recipe, seeded_network())
    high.learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    run(high, street)
    assert high.standing.failures_in_a_row == 0
    log = log_of(tmp_path / "high")
    assert [line["scale"] for line in log] == [2.0 ** (127 - step) for step in range(6)]
    assert {line["problem"] for line in log} == {OVERFLOW}
    assert log[-1]["skipped"] == 6
    low = trainer(tmp_path / "low", recipe, seeded_network())
    low.learner.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    monkeypatch.setattr("training.step.get_total_norm", lambda _: torch.tensor(torch.inf))
    with pytest.raises(DataError, match="the gradient was no number in 2 steps in a row, up to step 2"):
        run(low, street)
