"""Several processes, on one machine or many, that train one network: who they are, and what they must agree on."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

_Content = TypeVar("_Content")

_PATIENCE = timedelta(hours=2)
"""How long a process waits for another: the first evaluates alone."""


@dataclass(frozen=True)
class Ranks:
    """This process among ``count``; ``local`` is its number on its own machine. The first of all leads: it alone
    writes and evaluates."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of all processes' tensors, in each of them."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def of_leader(self, content: _Content) -> _Content:
        """The leader's content, tensors and plain data, on the CPU of every process; the others' own is dropped."""
        if self.count == 1:
            return content
        stream = BytesIO()
        if self.leads:
            torch.save(content, stream)
        box = [stream.getvalue()]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return torch.load(BytesIO(box[0]), map_location="cpu", weights_only=True)  # type: ignore[no-any-return]

    def total_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every parameter the sum of its gradients in all processes; none where none of them has one."""
        if self.count == 1:
            return
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
        flat = [_flat_gradient(parameter) for parameter in parameters]
        summed = self.total(torch.cat([present.to(flat[0]), *flat]))
        anywhere, *gradients = summed.split([len(parameters), *map(len, flat)])  # type: ignore[no-untyped-call]
        for parameter, gradient, there in zip(parameters, gradients, anywhere.tolist(), strict=True):
            if there:
                parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter))


ALONE = Ranks()


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """The process among those that torchrun started, or alone where it did not; ``device`` "cpu" leaves GPUs out."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    on_gpus = torch.cuda.is_available() and device != "cpu"
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        dist.destroy_process_group()


def _flat_gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        return torch.zeros(parameter.numel(), device=parameter.device)
    return parameter.grad.reshape(-1)
