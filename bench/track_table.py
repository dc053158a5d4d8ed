"""A run of ``bench track`` on the page."""

from typing import Any

from bench.markdown import machine, markdown, number
from bench.report import Document

NOTE = """Generated clips, whose objects are known by id in every frame. An object is found where an answered mask has
an IoU of 0.5 with its own; small and large as COCO has it, below 32x32 and from 96x96 pixels. *Perfect ids* are the
same answers with the ids of what they show: the most that a tracker could reach with them. *Missing between* is the
share of objects, found in the frames before and after, that are not found; *gone*, of those that no mask even
touches. A mask's *flicker* is 1 - IoU between two frames, less that of the true mask."""

_SIDES = ("object", "missing between, %", "gone, %", "of", "with an id: missing, %", "of")


def track_parts(run: Document) -> list[str]:
    """Identity by what is dropped, and by clip; flicker by size."""
    settings = run["settings"]
    rate = settings["fps"]
    asked = (
        f"`{settings['folder']}` on {settings['runs_on']}: {settings['clips']} clip(s) of {settings['seconds']:g} s at "
        f"{rate:g} frames a second, {settings['size']}, from seed {settings['seed']}."
    )
    heads = ["dropped frames", "IDF1, %", "with perfect ids", "MOTA, %", "found, %", "objects", "switches"]
    heads += ["switches a minute and object", "fragmentations"]
    rows = [_identity_row(name, clips["all"]) for name, clips in run["identity"].items()]
    whole: dict[str, Any] = next(iter(run["identity"].values()), {})
    by_clip = [_identity_row(name, row) for name, row in whole.items() if name != "all"]
    parts = [machine(run), asked, markdown(heads, rows)]
    parts += ["By clip, with no frame dropped:", markdown(["clip", *heads[1:]], by_clip)]
    parts.append(_flicker_table(run["flicker"]["all"]))
    spent = run["tracker_ms"]
    return [*parts, _spent_words(spent)] if spent["count"] else parts


def _identity_row(name: str, row: dict[str, Any]) -> list[str]:
    shares = [_percent(row[key]) for key in ("idf1", "idf1_of_perfect_ids", "mota", "recall")]
    counts = [str(row["objects"]), str(row["switches"]), number(row["switches_a_minute"]), str(row["fragmentations"])]
    return [name, *shares, *counts]


def _flicker_table(found: dict[str, Any]) -> str:
    heads = [*_SIDES, "mask's flicker, %", "change of mask, %", "of the true mask, %"]
    rows = []
    for size, mask in found["masks"].items():
        answered, tracked = found["answered"][size], found["tracked"][size]
        seen = [_share(answered, "missing"), _share(answered, "gone"), str(answered["between"])]
        named = [_share(tracked, "missing"), str(tracked["between"])]
        rows.append([size, *seen, *named, *(_percent(mask[key]) for key in ("flicker", "change", "true_change"))])
    return markdown(heads, rows)


def _spent_words(spent: dict[str, float]) -> str:
    figures = ", ".join(f"{number(spent[key])} ({words})" for key, words in (("median", "median"), ("p99", "p99")))
    return f"The tracker took {figures} ms a frame."


def _share(counts: dict[str, int], key: str) -> str:
    return _percent(counts[key] / counts["between"] if counts["between"] else None)


def _percent(value: float | None) -> str:
    """Of a share of one; empty for none."""
    return "" if value is None else f"{100 * value:.1f}"
