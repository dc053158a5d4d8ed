"""A run of ``bench triton`` on the page."""

from typing import Any

from bench.markdown import machine, markdown, number
from bench.report import Document, ratio_text

OURS = "streetmask"
"""Our server's name among the subjects of a run."""

NOTE = """Triton Inference Server runs the same model file on the same engine in its Python backend, with this clone's
code for decoding and masks, and answers alike; both servers are asked by gRPC on this machine, one while the other
idles. *INSTANCESxTHREADS* is how its model runs; *queue* holds whatever comes, *bounded* and *expiring* reject by its
dynamic batcher's queue policy. Under overload a frame's age counts from when it was due."""

_LOST = ("failed", "unanswered", "unsent")


def triton_parts(run: Document) -> list[str]:
    """Throughput, overload, and what each of Triton's models is; or why there is nothing."""
    if "skipped" in run:
        return [machine(run), f"Not measured here: {run['skipped']}."]
    settings = run["settings"]
    width, height = settings["frame_size"]
    asked = (
        f"{settings['runs_on']}, {width}x{height} ({settings['frames'] or 'generated'}) as JPEG of quality "
        f"{settings['jpeg_quality']}; {settings['windows']} windows of each in turns; {settings['streams']} stream(s), "
        f"{settings['seconds']:g} s a load."
    )
    versions = ", ".join(f"{name} {found}" for name, found in run["triton"].items())
    parts = [machine(run), asked, f"In Triton's environment: {versions}.", _saturation(run), _loads(run), _facts(run)]
    return [part for part in parts if part]


def best_of_triton(loads: dict[str, Any]) -> dict[str, Any]:
    """Of the loads that were the same for all: ``ours``; Triton's that answered the ``most`` frames; and its
    ``youngest``, with the lowest 95th percentile of the age. None where there are none."""
    same = [load for load in loads.values() if load["load"] == "same" and load["age_ms"]["count"]]
    theirs = [load for load in same if load["subject"] != OURS]
    return {
        "ours": next((load for load in same if load["subject"] == OURS), None),
        "most": max(theirs, key=lambda load: load["answered_fps"], default=None),
        "youngest": min(theirs, key=lambda load: load["age_ms"]["p95"], default=None),
    }


def _saturation(run: Document) -> str:
    rows = []
    for clients, report in run["saturation"].items():
        for name, fps in report["fps"].items():
            ratio = report["ours_over"].get(name)
            rows.append([clients, f"`{name}`", number(fps), ratio_text(ratio) if ratio else ""])
    return markdown(["busy clients", "server", "frames a second", "ours, times it"], rows) if rows else ""


def _loads(run: Document) -> str:
    rows = []
    for name, load in run["loads"].items():
        frames, age = load["frames"], load["age_ms"]
        rows.append(
            [name, number(load["offered_fps"]), number(load["answered_fps"])]
            + [f"{frames.get('dropped', 0)} of {frames['due']}", str(sum(frames.get(kind, 0) for kind in _LOST))]
            + [number(age.get(key)) for key in ("median", "p95", "p99", "max")]
        )
    heads = ["load", "offered fps", "answered fps", "dropped or rejected", "lost", "age p50", "p95", "p99", "max"]
    return markdown(heads, rows) if rows else ""


def _facts(run: Document) -> str:
    lines = [f"{name}: {_words(load)}" for name, load in _named(best_of_triton(run["loads"])) if load is not None]
    alike = run["agreement"].values()
    matched, overlap = (min((each[key] for each in alike), default=0.0) for key in ("matched", "mask_iou"))
    lines.append(f"Answers before timing: {matched:.1%} of instances shared, mean mask IoU {overlap:.4f}")
    idle = ", ".join(f"{name} {share:.1%}" for name, share in run["idle_cpu_share"].items())
    lines.append(f"Left alone, all models loaded, of one CPU: {idle}")
    return "\n".join(f"- {line}." for line in lines)


def _named(best: dict[str, Any]) -> list[tuple[str, Any]]:
    words = {"ours": "Under the same load", "most": "Triton's most frames", "youngest": "Triton's youngest answers"}
    return [(words[key], load) for key, load in best.items()]


def _words(load: dict[str, Any]) -> str:
    return f"`{load['subject']}` {load['answered_fps']:.1f} fps at an age of {load['age_ms']['p95']:.0f} ms (p95)"
