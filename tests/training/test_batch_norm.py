import os
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from model.yolact import Yolact
from tests.loopback import free_port
from tests.model.tiny_network import TINY, seeded_network
from tests.training.processes import finish, start
from training.batch_norm import SharedBatchNorm2d, has_statistics, learns_statistics, share_statistics, to_training
from training.distributed import ALONE, Ranks, joined_ranks
from training.recipes import Recipe

CPU = torch.device("cpu")


def norms(network: Yolact) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_a_fresh_network_has_no_statistics_and_a_trained_one_has() -> None:
    fresh = Yolact(TINY)
    assert not has_statistics(fresh)
    norms(fresh)[-1].running_var[-1] = 0.5  # type: ignore[index]
    assert has_statistics(fresh)
    assert has_statistics(seeded_network())


@pytest.mark.parametrize(
    ("rule", "pictures", "from_nothing", "from_weights"),
    [("rule", 1, True, False), ("rule", 5, True, False), ("rule", 6, True, True), ("stored", 8, False, False),
     ("learned", 1, True, True)],
)  # fmt: skip
def test_statistics_are_stored_where_they_are_trained_and_pictures_few(
    rule: Literal["rule", "stored", "learned"], pictures: int, from_nothing: bool, from_weights: bool
) -> None:
    recipe = Recipe(steps=1, batch_norm=rule)
    assert learns_statistics(Yolact(TINY), recipe, pictures) is from_nothing
    assert learns_statistics(seeded_network(), recipe, pictures) is from_weights


def test_statistics_of_a_frozen_part_are_not_learned() -> None:
    network = seeded_network()
    for parameter in network.backbone.layers[0].parameters():
        parameter.requires_grad_(False)
    to_training(network, learn_statistics=True)
    assert network.training
    frozen = {norm for norm in network.backbone.layers[0].modules() if isinstance(norm, nn.BatchNorm2d)}
    assert frozen
    assert {norm for norm in norms(network) if not norm.training} == frozen
    to_training(network, learn_statistics=False)
    assert not any(norm.training for norm in norms(network))


@pytest.mark.parametrize(("precision", "kind"), [("bfloat16", nn.BatchNorm2d), ("float32", SharedBatchNorm2d)])
def test_alone_only_float32_is_worth_the_longer_sums(
    precision: Literal["bfloat16", "float32"], kind: type[nn.Module]
) -> None:
    network = seeded_network()
    share_statistics(network, Recipe(steps=1, precision=precision), ALONE, CPU)
    assert {type(norm) for norm in norms(network)} == {kind}


def test_a_network_whose_norms_are_shared_is_the_same_network() -> None:
    network = seeded_network()
    weight = network.get_parameter("backbone.bn1.weight")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    share_statistics(network, Recipe(steps=1), Ranks(0, 2), CPU)
    assert {type(norm) for norm in norms(network)} == {SharedBatchNorm2d}
    assert network.get_parameter("backbone.bn1.weight") is weight
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def maps() -> tuple[Tensor, Tensor]:
    """Maps of four pictures whose mean is far from 0, and what they are to be weighed by."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 5, 6, generator=generator) * 2 + 50, torch.randn(4, 3, 5, 6, generator=generator)


def normalised(norm: nn.BatchNorm2d, x: Tensor, slopes: Tensor) -> list[Tensor]:
    """The answer, the gradients of maps and scale, and the statistics."""
    x = x.clone().requires_grad_()
    answer = norm(x)
    (answer * slopes).sum().backward()
    assert x.grad is not None and norm.weight.grad is not None
    assert norm.running_mean is not None and norm.running_var is not None
    return [answer.detach(), x.grad, norm.weight.grad, norm.running_mean, norm.running_var]


def compare_in_a_process(rank: int, port: int) -> None:
    """Half of the maps in each of two processes against all of them in one."""
    os.environ.update(RANK=f"{rank}", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=f"{port}")
    torch.set_num_threads(1)
    x, slopes = maps()
    half = slice(2 * rank, 2 * rank + 2)
    with joined_ranks("cpu") as ranks:
        ours = normalised(SharedBatchNorm2d(3), x[half], slopes[half])
        ours[2] = ranks.total(ours[2])
    theirs = [tensor.float() for tensor in normalised(nn.BatchNorm2d(3).double(), x.double(), slopes.double())]
    theirs[0], theirs[1] = theirs[0][half], theirs[1][half]
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=2e-5)


def test_one_process_normalises_as_float64_does() -> None:
    x, slopes = maps()
    ours = normalised(SharedBatchNorm2d(3), x, slopes)
    theirs = normalised(nn.BatchNorm2d(3).double(), x.double(), slopes.double())
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its.float(), rtol=1e-4, atol=2e-5)


def test_two_processes_normalise_as_one() -> None:
    port = free_port()
    assert finish(*(start(compare_in_a_process, rank, port) for rank in (0, 1))) == [0, 0]
