"""Runs of ``bench decode`` on the page: what decoding at reduced scale costs, and what it saves."""

from bench.ap_change import KINDS
from bench.decode import change_cells
from bench.markdown import machine, markdown, percent
from bench.report import Document

NOTE = """A JPEG's decoder can leave out of each block of 8 x 8 pixels what a picture of half, a quarter or an eighth of
the size does not show. Boxes and masks are laid on the whole frame all the same. *By the rule*, which the server goes
by, a frame is divided by the largest number after which both of its sides are still so many times the network's input
as stands below. The change of AP, in points of 100, is against decoding in full, with the interval of a paired
bootstrap over pictures; *of full* is the median over pictures of the decoder's time against its time in full."""


def decode_parts(run: Document) -> list[str]:
    """Every set, at every scale and by the rule."""
    settings = run["settings"]
    height, width = settings["network_hw"]
    heads = ["pictures", "frame", "decoded", "decode ms", "of full", *(f"{kind} AP" for kind in KINDS)]
    heads += [f"change of {kind} AP" for kind in KINDS]
    rows = []
    for name, found in run["decode"].items():
        sizes = [f"{wide}x{high}" for high, wide in found["sizes_hw"]]
        size = sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes"
        for way, row in found["ways"].items():
            cells = [f"{found['images']} of {name}", size, way]
            cells += [f"{row['decode_ms']['median']:.2f}", f"{row['time_over_full']:.2f}"]
            rows.append(cells + [percent(row[kind]["ap"]) for kind in KINDS] + change_cells(row))
    asked = (
        f"`{settings['target']}` on {settings['runs_on']}, whose input is {width}x{height}; the rule keeps "
        f"{settings['kept_over_input']:g} times that at least; {settings['resamples']} draws."
    )
    return [machine(run), asked, markdown(heads, rows)]
