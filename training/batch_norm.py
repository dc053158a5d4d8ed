"""BatchNorm in training: whose statistics normalise, and how several processes learn them as one."""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.yolact import Yolact
from training.distributed import Ranks
from training.recipes import Recipe

FEWEST_PICTURES = 6
"""Normalised together, from which statistics are worth learning where there are some already."""


class _Total(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs, since each has its share of the loss."""

    @staticmethod
    def forward(_ctx: object, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        if dist.is_initialized():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return _Total.forward(None, gradient.contiguous())


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Learns the statistics of all processes' pictures, as one process would of the whole batch.

    As ``nn.SyncBatchNorm``, which is for GPUs only, but summed in float64: torch's own on a CPU, on channels_last maps,
    is wrong by 1e-5 a layer, by which one process and two would differ. Every process must hold maps of the same size.
    """

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape and type, normalised in float32."""
        if not self.training:
            return super().forward(x)
        maps = x.float()
        count = (dist.get_world_size() if dist.is_initialized() else 1) * maps[:, 0].numel()
        mean = (_over_all(maps.sum(dim=(0, 2, 3), dtype=torch.float64)) / count).float()
        centred = maps - mean[:, None, None]
        variance = (_over_all(centred.square().sum(dim=(0, 2, 3), dtype=torch.float64)) / count).float()
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def learns_statistics(network: Yolact, recipe: Recipe, pictures: int) -> bool:
    """Whether BatchNorm learns its statistics from batches, of which so many ``pictures`` are normalised together: all
    processes' (``share_statistics``), but one part's.

    If the recipe leaves it open: not if there are some of trained weights and these are fewer than six.
    """
    if recipe.batch_norm != "rule":
        return recipe.batch_norm == "learned"
    return pictures >= FEWEST_PICTURES or not has_statistics(network)


def has_statistics(network: Yolact) -> bool:
    """Whether any BatchNorm has statistics other than those that every network starts with."""
    fresh = {"running_mean": 0.0, "running_var": 1.0}
    for _, norm in _norms(network):
        for name, buffer in norm.named_buffers():
            if name in fresh and not torch.equal(buffer, torch.full_like(buffer, fresh[name])):
                return True
    return False


def to_training(network: Yolact, learn_statistics: bool) -> None:
    """Train mode; statistics are learned if asked for and where the norm itself is, as one of a frozen part is not."""
    network.train()
    for _, norm in _norms(network):
        norm.train(learn_statistics and norm.weight.requires_grad)


def share_statistics(network: Yolact, recipe: Recipe, ranks: Ranks, device: torch.device) -> None:
    """Have the network's norms learn from all processes' pictures, where there is more than one.

    On a CPU in float32 also where there is one, so that many do the same; with halves that would gain nothing.
    """
    if ranks.count == 1 and (device.type != "cpu" or recipe.precision != "float32"):
        return
    kind = SharedBatchNorm2d if device.type == "cpu" else nn.SyncBatchNorm
    for name, norm in list(_norms(network)):
        shared = kind(norm.num_features, norm.eps, norm.momentum)
        for key, value in (*norm.named_parameters(), *norm.named_buffers()):
            setattr(shared, key, value)
        network.set_submodule(name, shared)


def statistics(network: Yolact) -> list[Tensor]:
    """The norms' statistics themselves."""
    return [buffer for _, norm in _norms(network) for buffer in norm.buffers()]


def _norms(network: Yolact) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            yield name, module  # type: ignore[misc]  # alike in all that is asked of them


def _over_all(tensor: Tensor) -> Tensor:
    return _Total.apply(tensor)  # type: ignore[no-any-return, no-untyped-call]
