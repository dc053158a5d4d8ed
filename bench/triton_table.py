"""A run of ``bench triton`` on the page."""

from typing import Any

from bench.markdown import machine, markdown, number
from bench.report import Document, ratio_text

OURS = "streetmask-"
"""How the names of our servers begin among the subjects of a run."""

ON_ONNX_RUNTIME = "ort-"
"""How those of Triton's begin that run the file on ONNX Runtime where our servers run it on another engine."""

NOTE = """Triton Inference Server runs the same model file in its Python backend, around which runs this clone's code
for decoding and masks: on the engine that StreetMask runs it on, so that the servers alone differ, and as *ort* on
ONNX Runtime, where ratios are of engine and server together. (Triton's own ONNX Runtime backend, which neither decodes
nor draws masks, is not part of the build that can be had, and was not measured.) Both servers are asked by gRPC on
this machine, one while the other idles. *1x2* is one instance, or lane, of two threads. Triton's *queue* holds
whatever comes, *bounded* and *expiring* reject by its dynamic batcher's queue policy. Under overload a frame's age
counts from when it was due."""

_LEAST_SHARE = 0.5
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


def is_ours(name: str) -> bool:
    """Whether a subject is a server of ours."""
    return name.startswith(OURS)


def is_on_onnx_runtime(name: str) -> bool:
    """Whether a subject is one of Triton's that runs the file on another engine than our servers do."""
    return name.startswith(ON_ONNX_RUNTIME)


def best_of_each(loads: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of the loads that were the same for all, by side, StreetMask, Triton on ONNX Runtime or on the same engine: which
    answered ``most`` frames, and whose answers were ``youngest``, by the 95th percentile of the age, of those that
    answered half as many at least. A side without an answer is left out."""
    sides: dict[str, list[dict[str, Any]]] = {}
    for load in loads.values():
        if load["load"] == "same" and load["age_ms"]["count"]:
            sides.setdefault(_side(load["subject"]), []).append(load)
    return {side: _best(found) for side, found in sides.items()}


def _side(name: str) -> str:
    if is_ours(name):
        return "StreetMask"
    return "Triton on ONNX Runtime" if is_on_onnx_runtime(name) else "Triton on the same engine"


def _best(loads: list[dict[str, Any]]) -> dict[str, Any]:
    most = max(loads, key=lambda load: load["answered_fps"])
    busy = [load for load in loads if load["answered_fps"] >= _LEAST_SHARE * most["answered_fps"]]
    return {"most": most, "youngest": min(busy, key=lambda load: load["age_ms"]["p95"])}


def _saturation(run: Document) -> str:
    rows, ours = [], []
    for clients, report in run["saturation"].items():
        ours = list(report["ours_over"])
        for name, fps in report["fps"].items():
            ratios = [report["ours_over"][each].get(name) for each in ours]
            rows.append([clients, f"`{name}`", number(fps), *(ratio_text(found) if found else "" for found in ratios)])
    heads = ["busy clients", "server", "frames a second", *(f"`{name}` is times it" for name in ours)]
    return markdown(heads, rows) if rows else ""


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
    lines = [
        f"Under the same load {side} answered most as {_words(best['most'])}, youngest as {_words(best['youngest'])}"
        for side, best in best_of_each(run["loads"]).items()
    ]
    sides = {False: "on the same engine", True: "on ONNX Runtime, which computes the file in its own way"}
    for other, where in sides.items():
        alike = [each for name, each in run["agreement"].items() if is_on_onnx_runtime(name) is other]
        if alike:
            matched, overlap = (min(each[key] for each in alike) for key in ("matched", "mask_iou"))
            lines.append(f"Answers {where}: {matched:.1%} of instances shared with ours, mean mask IoU {overlap:.4f}")
    idle = ", ".join(f"{name} {share:.1%}" for name, share in run["idle_cpu_share"].items())
    lines.append(f"Left alone, all models loaded, of one CPU: {idle}")
    return "\n".join(f"- {line}." for line in lines)


def _words(load: dict[str, Any]) -> str:
    return f"`{load['subject']}` {load['answered_fps']:.1f} fps at an age of {load['age_ms']['p95']:.0f} ms (p95)"
