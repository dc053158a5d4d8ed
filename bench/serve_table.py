"""A run of ``bench serve`` on the page."""

from typing import Any

from bench.markdown import machine, markdown, mebibytes, number
from bench.report import Document, ratio_text

NOTE = """Open loop: a frame is due by the clock, and its age at the answer counts from then, whatever the
server does. A frame that waits is replaced by a newer one, and the client is told: *dropped*. *Lost* are frames
that failed, stayed unanswered or could not be sent. *Work* is decoding, network and masks, *added* the rest of a
frame's age. Client and server share the machine."""

_LOST = ("failed", "unanswered", "unsent")
_PARTS = ("start", "middle", "end")
_LONG = 3000
"""Frames of a load from which it can be told whether memory grows."""


def serve_parts(run: Document) -> list[str]:
    """Loads, throughput, memory and the server's own stages."""
    heads = ["load", "offered fps", "answered fps", "dropped", "lost", "age p50", "p95", "p99", "max", "sent late p95"]
    heads += ["added p50", "added p99", "age p95 / work", "fairness"]
    rows = []
    for name, load in run.get("loads", {}).items():
        frames, age = load["frames"], load["age_ms"]
        rows.append(
            [name, number(load["offered_fps"]), number(load["answered_fps"])]
            + [f"{frames.get('dropped', 0)} of {frames['due']}", str(sum(frames.get(kind, 0) for kind in _LOST))]
            + [number(age.get(key)) for key in ("median", "p95", "p99", "max")]
            + [number(load["late_ms"].get("p95")), *_added(load), f"{load['fairness']:.3f}"]
        )
    settings = run["settings"]
    width, height = settings["frame_size"]
    sent = "raw pixels" if not settings["jpeg_quality"] else f"JPEG of quality {settings['jpeg_quality']}"
    named = " in ".join(word for word in (settings.get("engine"), settings.get("precision")) if word)
    asked = (
        f"On {named or 'its fastest engine'}: {settings['streams']} stream(s), {settings['arrivals']} arrivals, "
        f"{settings['seconds']:g} s a load, "
        f"{width}x{height} ({settings['frames'] or 'generated'}) as {sent}."
    )
    parts = [machine(run), asked, markdown(heads, rows), *_throughput_parts(run)]
    first = next(iter(run.get("loads", {}).values()), None)
    if first and first["server_ms"]:
        stages = [
            [name, *(number(row[key]) for key in ("median", "p95", "p99"))] for name, row in first["server_ms"].items()
        ]
        parts += [
            "The server's own stages under the first load, milliseconds:",
            markdown(["stage", "median", "p95", "p99"], stages),
        ]
    return parts


def _added(load: dict[str, Any]) -> list[str]:
    """What serving added to the model's own work, and how many times that work's time the age was."""
    added = load.get("added_ms", {})  # runs of before know neither
    work_ms, age_ms = load.get("work_ms", {}).get("median"), load["age_ms"].get("p95")
    times = number(age_ms / work_ms) if work_ms and age_ms is not None else ""
    return [number(added.get("median")), number(added.get("p99")), times]


def _throughput_parts(run: Document) -> list[str]:
    lines = []
    found = run.get("throughput", {})
    if found:
        lines.append(f"Throughput of two clients that keep the server busy: {found['served_fps']:.1f} frames a second")
        for key, words in (("engine", "the engine alone in a loop"), ("path", "decoding to answer in one thread")):
            if f"bare_{key}_fps" in found:
                ratio = ratio_text(found[f"served_over_bare_{key}"])
                lines.append(f"{ratio} of {words}, {found[f'bare_{key}_fps']:.1f} frames a second in the same run")
    if run.get("sweep"):
        sweep = run["sweep"]
        lines.append(
            f"Highest load with 95 in 100 answers within {sweep['bound_ms']:g} ms: {sweep['highest_fps']:.1f} fps"
        )
    for name, load in run.get("loads", {}).items():
        if "of_throughput" in load:
            ratio = ratio_text(load["of_throughput"])
            lines.append(f"Under {name} {ratio} of the throughput is answered, in turns with it")
        if load.get("server_memory") and not name.startswith("sweep"):
            lines.append(_memory_words(name, load))
    if run.get("server_memory"):
        lines.append(f"The server's memory: {mebibytes(run['server_memory']['resident_bytes'])} MiB")
    return ["\n".join(f"- {line}." for line in lines)] if lines else []


def _memory_words(name: str, load: dict[str, Any]) -> str:
    """What the server held under a load; how it grew is told of one that is long enough to tell."""
    memory = load["server_memory"]
    parts = ", ".join(mebibytes(memory[f"{part}_bytes"]) for part in _PARTS)
    words = f"Its memory under the load *{name}*: {parts} MiB at the start, in the middle and at the end of "
    words += f"{load['frames']['due']} frames, {mebibytes(memory['most_bytes'])} at most"
    slope = memory["slope_bytes_a_second"]
    if slope is None or load["frames"]["due"] < _LONG:
        return words
    a_thousand = 1000 * slope / load["offered_fps"] / 2**20
    words += f"; over the second half {a_thousand:+.2f} MiB a thousand frames"
    warm = memory.get("warm_bytes")  # runs of before have none
    if not warm:
        return words
    return f"{words}; at the end {100 * (memory['end_bytes'] / warm - 1):+.1f} % to after the first tenth"
