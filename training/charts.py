"""Plots as PNG files, all in one style, from matplotlib without a display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scene.disk import whole_file

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Told apart by colour-blind eyes too (Okabe and Ito 2008)."""

_LINES = ("-", "--", ":", "-.")
"""After the last colour the first comes again with the next of these."""

_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@contextmanager
def chart(path: Path, title: str, x: str, y: str, size_inches: tuple[float, float] = (9.0, 4.8)) -> Iterator[Axes]:
    """Axes to draw on; written to ``path``, whole, as PNG of 120 dots an inch when the block ends. ``x`` and ``y`` name
    the axes with their units."""
    with rc_context(_STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_prop_cycle(color=COLOURS * len(_LINES), linestyle=[line for line in _LINES for _ in COLOURS])
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        yield axes
        with whole_file(path) as stream:
            figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
