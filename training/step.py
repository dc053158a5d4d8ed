"""One step of training: forward and backward in parts, gradients summed, checked and clipped, and an update."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from model.anchors import make_anchors
from model.outputs import YolactOutputs
from model.yolact import Yolact, normalise
from scene.errors import require
from training.averaging import WeightAverage
from training.batch_norm import learns_statistics, share_statistics, statistics, to_training
from training.class_losses import ClassCounts, ClassShares, times_learned
from training.distributed import ALONE, Ranks
from training.feed import Batch
from training.losses import Losses, Part, losses
from training.matching import Targets, match
from training.recipes import Recipe

OVERFLOW = "the scaled gradient"
"""A problem that float16 solves on its own: the scale was too high, and falls."""

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_MASKS = 1
"""The stream of random numbers that draws a picture's masks; it is augmented by another."""


class Outcome(NamedTuple):
    """What a step did: the loss terms of the whole batch and the gradient's norm before clipping.

    ``problem`` names what was no number, if anything: then nothing was learned. ``scale`` is float16's, else 1.
    """

    terms: dict[str, float]
    gradient_norm: float
    rate: float
    scale: float
    problem: str = ""

    @property
    def total(self) -> float:
        """What was differentiated."""
        return sum(self.terms.values())


class Learner:
    """The network, and what learns with it from step to step: optimiser, scaler, class counts and weight average.

    With ``ranks``, each process sees its share of a batch, and all of them do what one would with the whole: gradients
    are summed here and not by DDP, which would miss the layers that only losses call, and which with accumulation
    leaves a gradient unsummed that the last part lacks.
    """

    def __init__(
        self, network: Yolact, recipe: Recipe, device: torch.device, seed: int = 1, ranks: Ranks = ALONE
    ) -> None:
        parts = ranks.count * recipe.accumulate
        require(
            "batch",
            recipe.batch % parts == 0,
            f"a multiple of {parts}, {ranks.count} processes with {recipe.accumulate} parts each",
            recipe.batch,
        )
        self.network = network.to(device, memory_format=MEMORY_FORMATS[recipe.memory_format])  # type: ignore[call-overload]
        self.recipe, self.device, self.seed, self.ranks = recipe, device, seed, ranks
        self.anchors = make_anchors(network.config).to(device)
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = make_optimiser(self.parameters, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self.counts = ClassCounts(network.config.class_count)
        self.average = WeightAverage(network, recipe.ema_decay) if recipe.ema_decay else None
        self.learns_statistics = learns_statistics(network, recipe, recipe.batch // recipe.accumulate)
        self.answer: Callable[[Tensor], YolactOutputs] = network

    def learn(self, batch: Batch, step: int) -> Outcome:
        """Learn a batch. Where answer, loss or gradient is no number, the network stays as it was."""
        rate, before = self._begin(step)
        sums = self._backward(batch, step)
        self.ranks.total_gradients(self.parameters)
        self.scaler.unscale_(self.optimiser)
        norm = get_total_norm([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        *values, unfit, length = torch.cat([sums, norm.to(sums)[None]]).tolist()
        scale = float(self.scaler.get_scale())
        outcome = Outcome(dict(zip(Losses._fields, values, strict=True)), length, rate, scale)
        outcome = outcome._replace(problem=_problem(outcome, unfit > 0))
        if outcome.problem:
            self._restore(before)
        else:
            self._update(norm)
        self.scaler.update()
        return outcome

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the weights that are to be used (``network_to_use``)."""
        content = {
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "class_counts": self.counts.seen,
            "learns_statistics": self.learns_statistics,
        }
        if self.average is not None:
            averaged = {"decay": self.average.decay, "updates": self.average.updates}
            content |= {"averaged": averaged, "raw_model": self.network.state_dict()}
        return content

    def state_bytes(self) -> int:
        """About how many bytes a checkpoint takes: the weights, their average, and one or two moments of each."""
        copies = 2 + (self.recipe.optimiser == "adamw") + (self.average is not None)
        return copies * sum(int(tensor.nbytes) for tensor in self.network.state_dict().values())

    def load(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same recipe."""
        self.network.load_state_dict(content.get("raw_model", content["model"]))
        if self.average is not None:
            self.average.load(content["model"], content.get("averaged", {}).get("updates", 0))
        self.optimiser.load_state_dict(content["optimiser"])
        if content.get("scaler"):
            self.scaler.load_state_dict(content["scaler"])
        self.counts.seen = content.get("class_counts", self.counts.seen)
        self.learns_statistics = content.get("learns_statistics", self.learns_statistics)

    def prepare(self, compiled: bool) -> None:
        """Before the first step: join BatchNorm's statistics, where they are learned; compile, if asked to."""
        if self.learns_statistics:
            share_statistics(self.network, self.recipe, self.ranks, self.device)
        if compiled:
            self.answer = torch.compile(self.network)

    @property
    def network_to_use(self) -> Yolact:
        """With averaged weights, if there are any."""
        return self.network if self.average is None else self.average.network

    def _begin(self, step: int) -> tuple[float, list[Tensor]]:
        """Set rate and modes; the rate, and what a step that fails must put back."""
        rate = self.recipe.rate_at(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        to_training(self.network, self.learns_statistics)
        self.optimiser.zero_grad(set_to_none=True)
        return rate, [kept.clone() for kept in self._kept()]

    def _kept(self) -> list[Tensor]:
        """What changes before it is known whether a step is learned."""
        return [self.counts.seen, *(statistics(self.network) if self.learns_statistics else [])]

    def _restore(self, before: list[Tensor]) -> None:
        for tensor, old in zip(self._kept(), before, strict=True):
            tensor.copy_(old)

    def _backward(self, batch: Batch, step: int) -> Tensor:
        """The gradients of all parts; the sums of the terms and of the unfit answers, all processes', [6]."""
        matches = [match(self.anchors, target) for target in batch.targets]
        labels = torch.stack([found.labels for found in matches])
        classes = self.network.config.class_count
        times = self.ranks.total(times_learned(labels, self.recipe.losses.classes, classes))
        shares, positives = self.counts.counted(times), int(times[1:].sum())
        count = len(matches)
        draws = self._draws(step * self.recipe.batch + self.ranks.rank * count, count)
        sums = torch.zeros(len(Losses._fields) + 1, device=self.device)
        size = -(-count // self.recipe.accumulate)
        for start in range(0, count, size):
            rows = slice(start, start + size)
            part = Part(matches[rows], positives, count * self.ranks.count, draws[rows])
            sums += self._backward_part(batch.images[rows], batch.targets[rows], part, shares)
        return self.ranks.total(sums)

    def _backward_part(self, pictures: Tensor, targets: Sequence[Targets], part: Part, shares: ClassShares) -> Tensor:
        images = normalise(pictures, self.network.config)
        images = images.contiguous(memory_format=MEMORY_FORMATS[self.recipe.memory_format])
        half = _HALF.get(self.recipe.precision)
        with torch.autocast(self.device.type, half, enabled=half is not None):
            outputs = self.answer(images)
        outputs = YolactOutputs(*(tensor.float() for tensor in outputs))
        unfit = not bool(torch.isfinite(torch.stack([tensor.sum() for tensor in outputs]).sum()))
        if unfit:  # a loss of numbers all the same, since some refuse others, and all processes must come to the end
            outputs = YolactOutputs(*(torch.nan_to_num(tensor, 0.0, 0.0, 0.0) for tensor in outputs))
        terms = losses(self.network, outputs, self.anchors, targets, self.recipe.losses, shares, part)
        self.scaler.scale(terms.total).backward()  # type: ignore[no-untyped-call]
        return torch.stack([*(term.detach() for term in terms), terms.total.new_tensor(float(unfit))])

    def _draws(self, first: int, count: int) -> list[np.random.Generator]:
        return [np.random.default_rng([self.seed, number, _MASKS]) for number in range(first, first + count)]

    def _update(self, norm: Tensor) -> None:
        if self.recipe.clip_norm:
            clip_grads_with_norm_(self.parameters, self.recipe.clip_norm, norm)
        self.scaler.step(self.optimiser)
        if self.average is not None:
            self.average.update(self.network)


def make_optimiser(parameters: Sequence[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over these parameters."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay)


def _problem(outcome: Outcome, unfit: bool) -> str:
    """What is no number, the first that is not; nothing if all are."""
    if unfit:
        return "the network's answer"
    if not np.isfinite(outcome.total):
        return "the loss"
    if np.isfinite(outcome.gradient_norm):
        return ""
    return OVERFLOW if outcome.scale > 1 else "the gradient"
