"""The exponential moving average of a network's weights, which is what a run is judged and exported by."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from model.yolact import Yolact


class WeightAverage:
    """Averages weights after each step, and BatchNorm's statistics with them, since they belong to the weights.

    The decay warms up, min(decay, (1 + n) / (10 + n)) at update n, so that the first weights are soon forgotten
    (TensorFlow's ``ExponentialMovingAverage``); the first update copies.
    """

    def __init__(self, network: Yolact, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._average = AveragedModel(network, multi_avg_fn=self._mix, use_buffers=True)

    @property
    def network(self) -> Yolact:
        """The network with the averaged weights."""
        return cast(Yolact, self._average.module)

    def update(self, network: Yolact) -> None:
        """Take the network's weights into the average."""
        self._average.update_parameters(network)
        self.updates += 1

    def load(self, state: Mapping[str, Any], updates: int) -> None:
        """Go on from an average of so many updates."""
        self.network.load_state_dict(state)
        self.updates = updates
        self._average.n_averaged.fill_(updates)

    def decay_at(self, update: int) -> float:
        """How much of the average stays at that update, counted from 0."""
        return min(self.decay, (1 + update) / (10 + update))

    def _mix(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _updates: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), 1 - self.decay_at(self.updates))
        else:  # BatchNorm's count of batches
            torch._foreach_copy_(list(averaged), list(current))
