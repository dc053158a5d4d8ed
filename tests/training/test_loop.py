import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from model.yolact import Yolact
from scene.errors import DataError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.batch_norm import statistics
from training.checkpoint import load_network, read_checkpoint
from training.class_losses import ClassLossSettings
from training.data.coco import CocoDataset
from training.evaluate import Evaluation, evaluate
from training.feed import AugmentedPictures, Batch, feed
from training.loop import BEST, LAST, RunSettings, Trainer, pick_device
from training.losses import LossSettings
from training.matching import Targets
from training.predictions import Predict
from training.recipes import Recipe
from training.step import OVERFLOW, Outcome
from training.transforms import NO_AUGMENTATION

RECIPE = Recipe(
    steps=4,
    batch=2,
    learning_rate=2e-3,
    warmup_steps=2,
    clip_norm=10.0,
    precision="float32",
    losses=LossSettings(classes=ClassLossSettings("balanced-ohem"), masks_per_picture=2),  # counts, and draws masks
)


@pytest.fixture
def street(tmp_path: Path) -> CocoDataset:
    """Two pictures with a large and a small object each, and a crowd."""
    rows = []
    for image_id in (1, 2):
        rows.append(annotation(image_id, rle(rectangle(TINY.size_hw, (10, 8, 60 + image_id, 50))), category_id=3))
        rows.append(annotation(image_id, rle(rectangle(TINY.size_hw, (90, 30, 110, 60))), category_id=1))
    rows.append(annotation(2, rle(rectangle(TINY.size_hw, (64, 0, 128, 10))), category_id=2, iscrowd=1))
    return CocoDataset(write_coco(tmp_path / "data", TINY.size_hw, 2, rows))


def trainer(folder: Path, recipe: Recipe = RECIPE, network: Yolact | None = None, **settings: Any) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    if network is None:
        torch.manual_seed(0)
        network = Yolact(TINY)
    defaults: dict[str, Any] = {"device": "cpu", "checkpoint_every": 0, "evaluate_every": 0, "report_every": 1}
    return Trainer(network, recipe, RunSettings(folder, workers=0, **(defaults | settings)))


def run(trainer: Trainer, data: CocoDataset, held_out: CocoDataset | None = None) -> list[Evaluation]:
    return list(trainer.run(AugmentedPictures([data], None, trainer.recipe, TINY.size_hw, seed=1), held_out))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same_content(left: Any, right: Any) -> None:
    """Equal to the bit, tensors and plain data alike."""
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert_same_content(value, right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same_content(one, other)
    else:
        assert left == right


def test_a_run_of_no_steps_changes_nothing(tmp_path: Path, street: CocoDataset) -> None:
    idle = trainer(tmp_path / "run", replace(RECIPE, steps=0))
    before = {name: tensor.clone() for name, tensor in idle.network.state_dict().items()}
    assert run(idle, street, held_out=street) == []
    assert_same_content(dict(idle.network.state_dict()), before)


def test_a_finished_run_is_not_begun_again(tmp_path: Path, street: CocoDataset) -> None:
    run(trainer(tmp_path), street)
    content = read_checkpoint(tmp_path / LAST)
    again = trainer(tmp_path)
    assert run(again, street) == []
    assert again.step == RECIPE.steps
    assert_same_content(read_checkpoint(tmp_path / LAST), content)


def test_the_loss_falls_on_one_picture(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, steps=20, batch=1, learning_rate=3e-3, augmentation=NO_AUGMENTATION, milestones=())
    run(trainer(tmp_path, recipe), street.first(1))
    totals = [
        sum(line[name] for name in ("box", "classes", "mask", "semantic", "rescoring")) for line in log_of(tmp_path)
    ]
    assert len(totals) == 20
    assert sum(totals[-3:]) / 3 < 0.7 * totals[0]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    tmp_path: Path, street: CocoDataset, optimiser: Literal["sgd", "adamw"]
) -> None:
    often: dict[str, Any] = {"checkpoint_every": 2, "evaluate_every": 2, "data": ("2 pictures",)}
    recipe = replace(RECIPE, optimiser=optimiser)
    run(trainer(tmp_path / "whole", recipe, **often), street, held_out=street)
    first = trainer(tmp_path / "resumed", recipe, **often)
    evaluations = first.run(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), street)
    next(evaluations)
    evaluations.close()  # type: ignore[attr-defined]  # as when the process ends
    assert first.step == 2
    torch.manual_seed(99)
    second = trainer(tmp_path / "resumed", recipe, seeded_network(), **often)
    run(second, street, held_out=street)
    whole, resumed = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "resumed"))
    assert whole["step"] == resumed["step"] == 4
    assert whole["data"] == ["2 pictures"]
    assert_same_content(resumed, whole)


def test_another_run_in_the_folder_is_not_taken_up(tmp_path: Path, street: CocoDataset) -> None:
    run(trainer(tmp_path), street)
    with pytest.raises(DataError, match=r"another optimiser \(sgd there, adamw here\); choose another --out"):
        run(trainer(tmp_path, replace(RECIPE, optimiser="adamw")), street)
    other = Yolact(replace(TINY, prototypes=TINY.prototypes + 1))
    with pytest.raises(DataError, match=r"another network \(prototypes 8 there, 9 here\); choose another --out"):
        run(trainer(tmp_path, network=other), street)
    recipe = replace(RECIPE, batch=4, losses=LossSettings(), learning_rate=1e-3)
    with pytest.raises(
        DataError, match=r"recipe \(batch 2 there, 4 here; learning_rate 0.002 there, 0.001 here; losses\)"
    ):
        run(trainer(tmp_path, recipe), street)
    with pytest.raises(DataError, match=r"last\.pt is of a run with another seed \(1 there, 2 here\)"):
        run(trainer(tmp_path, seed=2), street)
    assert run(trainer(tmp_path, replace(RECIPE, accumulate=2)), street) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_resumes_on_a_gpu(
    tmp_path: Path, street: CocoDataset, precision: Literal["bfloat16", "float16"]
) -> None:
    recipe = replace(RECIPE, precision=precision, ema_decay=0.9)
    first = trainer(tmp_path, recipe, device="cuda", evaluate_every=2)
    evaluations = first.run(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), street)
    next(evaluations)
    evaluations.close()  # type: ignore[attr-defined]  # as when the process ends
    second = trainer(tmp_path, recipe, device="cuda", evaluate_every=2)
    assert len(run(second, street, held_out=street)) == 1
    assert second.step == 4
    assert next(second.network.parameters()).is_cuda


def test_evaluations_come_when_due_and_at_the_end(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, steps=3)
    found = run(trainer(tmp_path, recipe, evaluate_every=2), street, held_out=street)
    assert [evaluation.images for evaluation in found] == [2, 2]
    assert [evaluation.instances for evaluation in found] == [4, 4]
    assert [line["step"] for line in log_of(tmp_path) if "mask" in line and "images" in line] == [2, 3]


def test_without_a_held_out_split_nothing_is_evaluated(tmp_path: Path, street: CocoDataset) -> None:
    assert run(trainer(tmp_path, replace(RECIPE, steps=1), evaluate_every=1), street) == []
    assert [line["step"] for line in log_of(tmp_path)] == [1]
    assert read_checkpoint(tmp_path / LAST)["step"] == 1


def test_a_checkpoint_that_knows_fewer_fields_is_taken_up(tmp_path: Path, street: CocoDataset) -> None:
    """As one of an older program."""
    run(trainer(tmp_path), street)
    content = read_checkpoint(tmp_path / LAST)
    del content["recipe"]["batch_norm"], content["recipe"]["losses"]["classes"]["beta"]
    torch.save(content, tmp_path / LAST)
    assert run(trainer(tmp_path), street) == []
    del content["recipe"]
    torch.save(content, tmp_path / LAST)
    assert run(trainer(tmp_path), street) == []


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
    batch = next(iter(feed(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), 0, workers=0)))
    clipped.train_step(batch)
    moved = [new.detach() - old for new, old in zip(clipped.network.parameters(), before, strict=True)]
    length = float(torch.stack([part.norm() for part in moved]).norm())
    assert length == pytest.approx(0.5 * 1e-2, rel=0.02)


def test_bfloat16_answers_nearly_as_float32(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, losses=LossSettings())
    batch = next(iter(feed(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), 0, workers=0)))
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
        batch = next(iter(feed(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), 0, workers=0)))
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
    batch = next(iter(feed(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), 0, workers=0)))
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


def test_a_float16_run_goes_on_with_its_scale(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, precision="float16", batch_norm="stored")
    first = trainer(tmp_path, recipe, seeded_network(), evaluate_every=2)
    first.learner.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=1)
    evaluations = first.run(AugmentedPictures([street], None, recipe, TINY.size_hw, seed=1), street)
    next(evaluations)
    evaluations.close()  # type: ignore[attr-defined]  # as when the process ends
    run(trainer(tmp_path, recipe, seeded_network()), street)
    scales = [line["scale"] for line in log_of(tmp_path) if "total" in line]
    assert scales == [256.0, 512.0, 1024.0, 2048.0]


def test_what_is_loaded_evaluated_and_exported_are_the_averaged_weights(tmp_path: Path, street: CocoDataset) -> None:
    averaging = trainer(tmp_path, replace(RECIPE, ema_decay=0.9), evaluate_every=4)
    run(averaging, street, held_out=street)
    content, loaded = read_checkpoint(tmp_path / LAST), load_network(tmp_path / LAST)
    average = averaging.learner.average
    assert average is not None
    assert content["averaged"] == {"decay": 0.9, "updates": 4}
    name = "fpn.lat_layers.0.weight"
    assert torch.equal(loaded.get_parameter(name), average.network.get_parameter(name))
    assert not torch.equal(loaded.get_parameter(name), averaging.network.get_parameter(name))
    assert torch.equal(content["raw_model"][name], averaging.network.get_parameter(name))
    assert [line["weights"] for line in log_of(tmp_path) if "images" in line] == ["averaged", "raw"]
    assert load_network(tmp_path / BEST).config == TINY


def test_the_best_checkpoint_is_that_of_the_highest_mask_ap(
    tmp_path: Path, street: CocoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    aps = iter([math.nan, 0.2, 0.3, 0.25])

    def scored(predict: Predict, held_out: CocoDataset) -> Evaluation:
        result = evaluate(predict, held_out)
        return replace(result, mask=replace(result.mask, ap=next(aps)))

    monkeypatch.setattr("training.loop.evaluate", scored)
    run(trainer(tmp_path, evaluate_every=1), street, held_out=street)
    best, last = read_checkpoint(tmp_path / BEST), read_checkpoint(tmp_path / LAST)
    assert (best["step"], best["best_step"], best["best_mask_ap"]) == (3, 3, 0.3)
    assert (last["step"], last["best_step"], last["evaluated"]) == (4, 3, 4)


def test_an_evaluation_that_was_cut_off_is_made_up_for(
    tmp_path: Path, street: CocoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("training.loop.evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(trainer(tmp_path, checkpoint_every=2, evaluate_every=2), street, held_out=street)
    found = run(trainer(tmp_path, checkpoint_every=2, evaluate_every=2), street, held_out=street)
    assert len(found) == 2
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 2, 3, 4, 4]


def test_a_disk_that_fills_up_loses_nothing_already_saved(tmp_path: Path, street: CocoDataset) -> None:
    often = trainer(tmp_path, checkpoint_every=2, evaluate_every=2)
    evaluations = often.run(AugmentedPictures([street], None, RECIPE, TINY.size_hw, seed=1), street)
    next(evaluations)
    (tmp_path / "last.partial").symlink_to("/dev/full")
    with pytest.raises(DataError, match=rf"cannot write {tmp_path / LAST}: No space left on device"):
        next(evaluations)
    assert read_checkpoint(tmp_path / LAST)["step"] == 2
    run(trainer(tmp_path, checkpoint_every=2), street)
    assert read_checkpoint(tmp_path / LAST)["step"] == 4


@pytest.mark.slow
def test_a_compiled_network_learns_as_an_eager_one(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, batch_norm="stored")
    run(trainer(tmp_path / "eager", recipe, seeded_network()), street)
    run(trainer(tmp_path / "compiled", recipe, seeded_network(), compiled=True), street)
    eager, compiled = log_of(tmp_path / "eager"), log_of(tmp_path / "compiled")
    assert [line["total"] for line in compiled] == pytest.approx([line["total"] for line in eager], rel=1e-4)
    load_network(tmp_path / "compiled" / LAST)


def test_the_device_asked_for() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(name: str) -> None:
    with pytest.raises(DataError, match="torch sees no GPU here; use --device cpu"):
        pick_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:zero"])
def test_a_device_that_nobody_knows(name: str) -> None:
    with pytest.raises(DataError, match="expected a device such as auto, cpu or cuda:0"):
        pick_device(name)
