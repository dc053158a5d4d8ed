"""What comes of the focal analysis: a table, a sentence, ``focal.json`` and two charts."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scene.disk import whole_file
from training.charts import chart
from training.focal_analysis import HARDEST, P_T, FocalAnalysis, SideAnalysis

JSON_NAME, POSITIVES_NAME, NEGATIVES_NAME = "focal.json", "focal-positives.png", "focal-negatives.png"

_TABLE = "share of the loss in %, of the hardest"
_HEADS = tuple(f"{100 * share:g} %" for share in HARDEST)
_FEW = round(1 / HARDEST[0])
_CHART_INCHES = (7.2, 5.4)


def lines(analysis: FocalAnalysis) -> Iterator[str]:
    """For people: what was sampled, a row a side and gamma with the share of the loss in percent that the hardest
    samples carry, and the result in a sentence."""
    sides = {"positives": analysis.positives, "negatives": analysis.negatives}
    yield f"{analysis.pictures} pictures; p_t is, {P_T[analysis.scoring]}"
    yield from (f"{name}: {side.sampled:,} samples of {side.seen:,}" for name, side in sides.items())
    yield _TABLE + "".join(f"{head:>8}" for head in _HEADS)
    for name, side in sides.items():
        for curve in side.curves:
            row = f"{name}, gamma {curve.gamma:g}".ljust(len(_TABLE))
            yield row + "".join(f"{100 * share:8.1f}" for share in curve.hardest)
    yield sentence(analysis)


def sentence(analysis: FocalAnalysis) -> str:
    """What the highest gamma does, beside the lowest, to the hardest hundredth of either side."""
    low, high = (pick(curve.gamma for curve in analysis.negatives.curves) for pick in (min, max))
    negatives, positives = (_carried(side, low, high) for side in (analysis.negatives, analysis.positives))
    gammas = f"gamma {high:g}" if low == high else f"gamma {high:g} instead of {low:g}"
    return (
        f"With {gammas} the hardest {_HEADS[0]} of the negatives carry {negatives} of their loss, and of the positives "
        f"{positives}.{_few(analysis)}"
    )


def as_dict(analysis: FocalAnalysis, **about: Any) -> dict[str, Any]:
    """Plain data for JSON; ``about`` says of what and with which settings."""
    return {
        **about,
        "scoring": analysis.scoring,
        "p_t": P_T[analysis.scoring],
        "pictures": analysis.pictures,
        **{name: _side(getattr(analysis, name)) for name in ("positives", "negatives")},
    }


def write(folder: Path, analysis: FocalAnalysis, **about: Any) -> None:
    """The JSON and the two charts, in a folder."""
    with whole_file(folder / JSON_NAME) as stream:
        stream.write(json.dumps(as_dict(analysis, **about), allow_nan=False).encode() + b"\n")
    draw(folder / POSITIVES_NAME, "positives", analysis.positives)
    draw(folder / NEGATIVES_NAME, "negatives", analysis.negatives)


def draw(path: Path, name: str, side: SideAnalysis) -> None:
    """One side's curves, and the line on which they would lie if all samples lost the same."""
    x, y = f"fraction of the {name}, the easiest first", "cumulative normalised loss"
    with chart(path, f"Focal loss of {side.sampled:,} {name}", x, y, _CHART_INCHES) as axes:
        axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1.2, label="all the same")
        for curve in side.curves:  # not clipped, since the steepest ends run along the frame
            axes.plot(curve.fractions, curve.losses, label=f"gamma {curve.gamma:g}", clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.legend(loc="upper left")


def _carried(side: SideAnalysis, low: float, high: float) -> str:
    """The share of the hardest hundredth under the one gamma, instead of what it is under the other."""
    share = {curve.gamma: f"{100 * curve.hardest[0]:.1f} %" for curve in side.curves}
    return share[high] if low == high else f"{share[high]} instead of {share[low]}"


def _few(analysis: FocalAnalysis) -> str:
    sides = {"positives": analysis.positives.sampled, "negatives": analysis.negatives.sampled}
    few = " and ".join(f"{count} {name}" for name, count in sides.items() if count < _FEW)
    return f" Of {few} that is less than one: take more pictures." if few else ""


def _side(side: SideAnalysis) -> dict[str, Any]:
    """The hardest shares by their own names, such as "0.01"."""
    curves = [
        {**asdict(curve), "hardest": dict(zip(map(str, HARDEST), curve.hardest, strict=True))} for curve in side.curves
    ]
    return {"seen": side.seen, "sampled": side.sampled, "curves": curves}
