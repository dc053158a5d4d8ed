"""What the differences of layers suggest: how many to freeze from the input side, and which start suits a target.

Both are hypotheses. The study behind them (Faster R-CNN, ResNet-50) found that freezing layers which move much hurts,
and that of two starts the one whose layers move less is the better; only trainings tell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median

from training.layer_difference import LayerDifference, PairDifferences

LOW = 0.5
"""Of the median over all layers that moved: what moved no more counts as little."""

_WINDOW = 5
"""Layers whose median is taken: a block's convolutions of 1x1 and of 3x3 move by multiples of each other, and up to two
of five may stand out without ending a run."""

_DEVIATIONS = 2.0
"""By which layers that moved less must outnumber the others, of what fair coins do: the sign test's 5 %."""

NO_PROOF = (
    "These are hypotheses: a sweep of trainings with --freeze-first 0, 5, 10, ... from each start tells by the AP."
)


@dataclass(frozen=True)
class Freezing:
    """How many convolutions to freeze from the input side, by ``--freeze-first``, and why; 0 for none."""

    first: int
    reason: str

    def sentence(self) -> str:
        """For people, with the option that does it."""
        advice = (
            f"freeze the first {self.first}, with `--freeze-first {self.first}`" if self.first else "freeze nothing"
        )
        return f"{advice}: {self.reason}"


@dataclass(frozen=True)
class Starts:
    """Pairs whose files name one ``target``, by how far they moved: (index of the pair, mean difference over the layers
    that moved in all of them), the least first; and what follows, in words."""

    target: tuple[str, ...]
    means: tuple[tuple[int, float], ...]
    sentence: str


def suggested_freezing(pair: PairDifferences) -> Freezing:
    """The longest run of layers from the input side that moved clearly less than the rest.

    Smoothed by the running median over five layers (at the ends of the first and the last five), the curve must stay at
    or below half of the median over all layers that moved; the run ends with a layer that is itself that low, before
    the network's last layer and before any that cannot be compared. What did not move at all was frozen: nothing is
    suggested where that is half of the run.
    """
    moved = [each.difference for each in pair.layers if each.difference]
    if not moved:
        return Freezing(0, "no layer moved at all, so that there is nothing to tell from")
    limit = LOW * median(moved)
    layers = _consecutive(pair)
    run = _low_run(layers[: len(pair.convolutions) - 1], limit)
    bound = f"{limit:.3g}, half of the median over the {len(moved)} layers that moved"
    if not layers:
        return Freezing(0, f"{pair.convolutions[0]}, the first, cannot be compared")
    if not run:
        near = median(each.difference for each in layers[:_WINDOW])
        return Freezing(0, f"the first layers moved by {near:.3g}, their median, where little would be {bound}")
    above = [f"{each.name} ({each.difference:.3g})" for each in run if each.difference > limit]
    still = sum(not each.difference for each in run)
    if 2 * still >= len(run):
        which = f"of the first {len(run)} {still}" if still < len(run) else f"the first {still}"
        return Freezing(0, f"{which} did not move at all because they were frozen, so that nothing follows for them")
    return Freezing(
        run[-1].index,
        f"up to {run[-1].name} they moved by no more than {bound}"
        + (f", but for {', '.join(above)}" if above else "")
        + (f"; {still} of them did not move at all: were they frozen, that says nothing" if still else ""),
    )


def compared_starts(pairs: Sequence[PairDifferences]) -> list[Starts]:
    """Which start moved least, for each target on which several were tuned, by the name of the first data set alone;
    pairs whose files do not say on what are taken to be of one target."""
    targets = dict.fromkeys(pair.target[:1] for pair in pairs)
    groups = ([index for index, pair in enumerate(pairs) if pair.target[:1] == target] for target in targets)
    found = (_starts(pairs, group) for group in groups if len({pairs[index].base for index in group}) > 1)
    return [each for each in found if each is not None]


def _consecutive(pair: PairDifferences) -> list[LayerDifference]:
    """The layers from the input side to the first that cannot be compared."""
    return [each for place, each in enumerate(pair.layers, 1) if each.index == place]


def _low_run(layers: Sequence[LayerDifference], limit: float) -> list[LayerDifference]:
    run: list[LayerDifference] = []
    for place, layer in enumerate(layers):
        start = max(0, min(place - _WINDOW // 2, len(layers) - _WINDOW))
        if median(each.difference for each in layers[start : start + _WINDOW]) > limit:
            break
        run.append(layer)
    while run and run[-1].difference > limit:
        run.pop()
    return run


def _starts(pairs: Sequence[PairDifferences], group: Sequence[int]) -> Starts | None:
    """None where no layer moved in all of them: what is frozen in one would make it look near."""
    moved = {index: {each.name: each.difference for each in pairs[index].layers if each.difference} for index in group}
    common = [name for name in moved[group[0]] if all(name in each for each in moved.values())]
    if not common:
        return None
    means = {index: fmean(moved[index][name] for name in common) for index in group}
    order = sorted(group, key=means.__getitem__)
    least = order[0]
    second = next(index for index in order if pairs[index].base != pairs[least].base)
    fewer = sum(moved[least][name] < moved[second][name] for name in common)
    clear = 2 * fewer - len(common) > _DEVIATIONS * sqrt(len(common))
    target = pairs[least].target[:1]
    words = (
        f"Of the starts for {''.join(target) or 'what may be one target'}, which the files "
        f"{'tell by name alone' if target else 'do not name'}, {pairs[least].base} moved least: {means[least]:.3g} on "
        f"average over the {len(common)} layers that moved in all, before {pairs[second].base} with "
        f"{means[second]:.3g}, and less than that in {fewer} of them: "
        + ("the better start it would be, by the study's finding, if trained alike" if clear else "no clear majority")
    )
    unlike = "".join(f"; but {each}, which alone may be why" for each in _unlike(pairs, order))
    return Starts(target, tuple((index, means[index]) for index in order), words + unlike)


def _unlike(pairs: Sequence[PairDifferences], order: Sequence[int]) -> Iterator[str]:
    """What else than the start may be why pairs moved unlike."""
    steps = {pairs[index].steps for index in order}
    if len(steps) > 1 or None in steps:
        told = (f"{pairs[i].base} {'unknown' if pairs[i].steps is None else pairs[i].steps}" for i in order)
        yield f"their steps {'differ' if len(steps) > 1 else 'are not known'} ({', '.join(told)})"
    if len({pairs[index].target for index in order}) > 1:
        yield "some saw other data beside it"
