"""The differences of layers as a table, as JSON, as a page and as a picture."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from matplotlib.axes import Axes

from model.weights import briefly
from scene.disk import whole_file
from training.charts import chart
from training.convolutions import PARTS, part_of
from training.layer_advice import NO_PROOF, compared_starts, suggested_freezing
from training.layer_difference import PairDifferences

TITLES = {
    "backbone": "backbone",
    "fpn": "FPN",
    "proto_net": "protonet",
    "prediction_layers": "prediction head",
    "maskiou_net": "mask rescoring",
    "semantic_seg_conv": "semantic layer",
}
"""The network's parts for people."""

_ABSENT = "-"
_LEGEND_INCHES = 0.25
"""Of a line of the legend below the curves."""
_AXIS = "|1 - cos| of the weights before and after"
_MEANING = (
    "|1 - cos(tuned, base)| of each convolution's weights: 0 for the same direction, 1 for a right angle, 2 for the "
    "opposite one. Offsets of deformable convolutions, biases and BatchNorm do not count."
)


def pair_names(pairs: Sequence[PairDifferences]) -> list[str]:
    """BASE:TUNED of each, with as much of the paths as tells all files apart."""
    short = short_names({path for pair in pairs for path in (pair.base, pair.tuned)})
    return [f"{short[pair.base]}:{short[pair.tuned]}" for pair in pairs]


_OF_ANY_RUN = re.compile(r"(last|best|checkpoint)\.\w+|(seed-)?\d+")


def short_names(paths: Collection[Path]) -> dict[Path, Path]:
    """As much of each path's end as tells them all apart, and names more than a file or a number that every run has."""
    names = {}
    for path in paths:
        ends = [Path(*path.parts[-count:]) for count in range(1, len(path.parts) + 1)]
        ends = [end for end in ends if not _OF_ANY_RUN.fullmatch(end.parts[0])]
        others = [other for other in paths if other != path]
        names[path] = next((end for end in ends if not any(_ends(other, end) for other in others)), path)
    return names


def _ends(path: Path, end: Path) -> bool:
    return path.parts[-len(end.parts) :] == end.parts


def table(pairs: Sequence[PairDifferences]) -> list[list[str]]:
    """A row a convolution, a column a pair under its number, then the means by part; the first row is the header."""
    found = [{each.name: each for each in pair.layers} for pair in pairs]
    weights = {name: each.weights for layers in found for name, each in layers.items()}
    rows = [["", "convolution", "weights", *(f"({number})" for number in range(1, len(pairs) + 1))]]
    for index, name in enumerate(pairs[0].convolutions, 1):
        moved = [_number(layers[name].difference) if name in layers else _ABSENT for layers in found]
        rows.append([f"{index}", name, f"{weights.get(name, _ABSENT)}", *moved])
    means = [pair.means() for pair in pairs]
    for part in PARTS:
        if any(part in each for each in means):
            of_pairs = [_number(each[part]) if part in each else _ABSENT for each in means]
            rows.append(["", f"mean of {part}", "", *of_pairs])
    return rows


def _number(difference: float) -> str:
    return f"{difference:.3g}"


def text(pairs: Sequence[PairDifferences]) -> str:
    """For a terminal: the pairs by number, the table, what could not be compared, what to freeze, which start."""
    rows = table(pairs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    forms = [f"{{:{'<' if place == 1 else '>'}{width}}}" for place, width in enumerate(widths)]
    lines = ["  ".join(form.format(cell) for form, cell in zip(forms, row, strict=True)).rstrip() for row in rows]
    return "\n".join([*_numbered(pairs), *lines, *_conclusions(pairs)])


def page(pairs: Sequence[PairDifferences], picture: str) -> str:
    """The same as Markdown, around the picture of that name."""
    header, *rows = table(pairs)
    marks = ["---:" if place != 1 else "---" for place in range(len(header))]
    lines = [f"| {' | '.join(row)} |" for row in (header, marks, *rows)]
    told = [f"- {line}" for line in (*_numbered(pairs), *_conclusions(pairs))]
    return "\n".join(["# Layer differences", "", _MEANING, "", f"![{_AXIS}]({picture})", "", *told, "", *lines, ""])


def document(pairs: Sequence[PairDifferences]) -> dict[str, Any]:
    """All of it as plain data, for JSON."""
    return {
        "pairs": [
            {
                "name": name,
                **msgspec.to_builtins(pair, enc_hook=str),
                "means": pair.means(),
                "suggestion": msgspec.to_builtins(suggested_freezing(pair)),
            }
            for name, pair in zip(pair_names(pairs), pairs, strict=True)
        ],
        "starts": msgspec.to_builtins(compared_starts(pairs)),
        "note": NO_PROOF,
    }


def _numbered(pairs: Sequence[PairDifferences]) -> list[str]:
    return [f"({number}) {name}" for number, name in enumerate(pair_names(pairs), 1)]


def _conclusions(pairs: Sequence[PairDifferences]) -> Iterator[str]:
    for number, pair in enumerate(pairs, 1):
        reasons = dict.fromkeys(each.why for each in pair.not_comparable)
        for why in reasons:
            listed = briefly(each.name for each in pair.not_comparable if each.why == why)
            yield f"({number}) not comparable, {why}: {', '.join(listed)}"
    for number, pair in enumerate(pairs, 1):
        yield f"({number}) {suggested_freezing(pair).sentence()}"
    yield from (each.sentence for each in compared_starts(pairs))
    yield NO_PROOF


def draw(pairs: Sequence[PairDifferences], path: Path) -> None:
    """All pairs over the layers' index, the parts of the network marked."""
    names = pairs[0].convolutions
    size = (11.0, 5.1 + _LEGEND_INCHES * len(pairs))
    with chart(path, "How far the layers moved", "convolution, from the input side", _AXIS, size) as axes:
        for pair, name in zip(pairs, _numbered(pairs), strict=True):
            moved = {each.index: each.difference for each in pair.layers}
            indices = range(1, len(names) + 1)
            axes.plot(indices, [moved.get(index, float("nan")) for index in indices], marker=".", label=name)
        axes.set_xlim(0.5, len(names) + 0.5)
        _scale(axes, [each.difference for pair in pairs for each in pair.layers])
        _mark_parts(axes, [part_of(name) for name in names])
        assert axes.figure is not None
        axes.figure.legend(loc="outside lower center", ncols=1)


def _scale(axes: Axes, differences: Sequence[float]) -> None:
    """Differences are of several powers of ten; below the least of them there is room for what did not move."""
    moved = [each for each in differences if each]
    if len(moved) == len(differences):
        axes.set_yscale("log")
    elif moved:
        least = 10.0 ** math.floor(math.log10(min(moved)))
        axes.set_yscale("symlog", linthresh=least, linscale=0.5)
        axes.set_ylim(-least / 4, 2 * max(moved))


def _mark_parts(axes: Axes, parts: Sequence[str]) -> None:
    """Lines between the parts, and their names above."""
    starts = [index for index, part in enumerate(parts) if index == 0 or part != parts[index - 1]]
    ends = [*starts[1:], len(parts)]
    for start in starts[1:]:
        axes.axvline(start + 0.5, color="#999999", linewidth=0.8)
    top = axes.secondary_xaxis("top")
    top.set_xticks([(start + end + 1) / 2 for start, end in zip(starts, ends, strict=True)])
    top.set_xticklabels([TITLES[parts[start]] for start in starts], rotation=40, ha="left", rotation_mode="anchor")
    top.tick_params(length=0)


def write(pairs: Sequence[PairDifferences], folder: Path) -> list[Path]:
    """``layers.json``, ``layers.md`` and ``layers.png`` into the folder, which is made."""
    paths = [folder / f"layers.{kind}" for kind in ("json", "md", "png")]
    draw(pairs, paths[2])
    contents = (msgspec.json.format(msgspec.json.encode(document(pairs))), page(pairs, paths[2].name).encode())
    for path, content in zip(paths, contents, strict=False):
        with whole_file(path) as stream:
            stream.write(content)
    return paths
