import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

from model.yolact import Yolact
from scene.errors import DataError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.runs import RECIPE, log_of, pictures, run, trainer
from training.checkpoint import load_network, read_checkpoint, save_checkpoint
from training.data.coco import CocoDataset
from training.distributed import Ranks
from training.evaluate import Evaluation, evaluate
from training.loop import BEST, LAST, pick_device
from training.losses import LossSettings
from training.predictions import Predict
from training.transforms import NO_AUGMENTATION


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
    evaluations = first.run(pictures(street, recipe), street)
    next(evaluations)
    evaluations.close()  # as when the process ends
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


def test_a_batch_may_be_learned_in_other_parts_where_that_changes_no_loss(tmp_path: Path, street: CocoDataset) -> None:
    run(trainer(tmp_path / "stored", replace(RECIPE, batch_norm="stored")), street)
    assert run(trainer(tmp_path / "stored", replace(RECIPE, batch_norm="stored", accumulate=2)), street) == []
    run(trainer(tmp_path / "learned"), street)
    with pytest.raises(DataError, match=r"another recipe \(accumulate 1 there, 2 here\)"):
        run(trainer(tmp_path / "learned", replace(RECIPE, accumulate=2)), street)


def test_a_run_in_which_something_else_learns_is_not_taken_up(tmp_path: Path, street: CocoDataset) -> None:
    """The optimiser's state has no names: moments would find another parameter."""
    run(trainer(tmp_path), street)
    other = trainer(tmp_path)
    other.network.get_parameter("backbone.conv1.weight").requires_grad_(False)
    with pytest.raises(DataError, match=r"another choice of what learns \(only there: backbone\.conv1\.weight\)"):
        run(other, street)


def test_a_run_on_other_data_is_not_taken_up(tmp_path: Path, street: CocoDataset) -> None:
    run(trainer(tmp_path, data=("1 pictures: a",)), street, held_out=street)
    data = tuple(f"1 pictures: {name}" for name in "abcde")
    told = r"choice of data \(only here: 1 pictures: b, 1 pictures: c, 1 pictures: d and 1 more\)"
    with pytest.raises(DataError, match=told):
        run(trainer(tmp_path, data=data), street)


def test_the_best_of_other_pictures_is_not_held_against_these(tmp_path: Path, street: CocoDataset) -> None:
    run(trainer(tmp_path, evaluate_every=2), street, held_out=street)
    told = r"last\.pt was evaluated on other pictures \(2 pictures: \S+ there, 1 pictures: \S+ here\): choose another"
    with pytest.raises(DataError, match=told):
        run(trainer(tmp_path, evaluate_every=2), street, held_out=street.first(1))
    assert run(trainer(tmp_path, evaluate_every=2), street) == []


def test_weights_alone_are_no_run(tmp_path: Path, street: CocoDataset) -> None:
    save_checkpoint(tmp_path / LAST, seeded_network(), step=3)
    with pytest.raises(
        DataError, match=rf"last\.pt holds weights and no run: use --start {tmp_path / LAST} and another"
    ):
        run(trainer(tmp_path), street)


def test_a_disk_without_room_for_a_checkpoint_is_told_of_before_the_first_step(
    tmp_path: Path, street: CocoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = trainer(tmp_path / "run")
    network_bytes = sum(tensor.nbytes for tensor in full.network.state_dict().values())
    monkeypatch.setattr("scene.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=2 * network_bytes - 1))
    with pytest.raises(DataError, match=r"run has room for \d+ MB, but a checkpoint takes about \d+: make room"):
        run(full, street)
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_resumes_on_a_gpu(
    tmp_path: Path, street: CocoDataset, precision: Literal["bfloat16", "float16"]
) -> None:
    recipe = replace(RECIPE, precision=precision, ema_decay=0.9)
    first = trainer(tmp_path, recipe, device="cuda", evaluate_every=2)
    evaluations = first.run(pictures(street, recipe), street)
    next(evaluations)
    evaluations.close()  # as when the process ends
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


def test_a_float16_run_goes_on_with_its_scale(tmp_path: Path, street: CocoDataset) -> None:
    recipe = replace(RECIPE, precision="float16", batch_norm="stored")
    first = trainer(tmp_path, recipe, seeded_network(), evaluate_every=2)
    first.learner.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=1)
    evaluations = first.run(pictures(street, recipe), street)
    next(evaluations)
    evaluations.close()  # as when the process ends
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
    evaluations = often.run(pictures(street, RECIPE), street)
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


def test_processes_do_not_share_a_gpu() -> None:
    with pytest.raises(DataError, match="2 processes cannot share cuda:0: --device cuda gives each its own"):
        pick_device("cuda:0", Ranks(0, 2))


@pytest.mark.parametrize("name", ["gpu", "", "cpu:zero"])
def test_a_device_that_nobody_knows(name: str) -> None:
    with pytest.raises(DataError, match="expected a device such as auto, cpu or cuda:0"):
        pick_device(name)
