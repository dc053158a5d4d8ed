"""``bench export``: what a network becomes in each precision on each engine: how fast, how large, how nearly the same.

Every form that an engine takes is written, timed and weighed; what can run here is timed side by side and held against
torch; what cannot is named with its reason.
"""

import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench.engine import base_of, start, subject_report
from bench.engine_names import Form, named_engine
from bench.frames import load_frames, store_frames
from bench.graphs import GraphWriter, Written, write_graphs
from bench.machine import Watch
from bench.parity import ask_parity
from bench.report import Document, aligned, document, emit, prepare_out, ratio_text
from bench.rounds import Entrant, Found, Plan, measure, warm_up
from bench.samples import LEAST
from bench.subjects import Subject, parse_subjects, those_that_run
from scene.errors import DataError, StreetMaskError, require
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED

BASE = "onnxruntime"
"""The engine that the others are compared to."""

_PLANS = "tensorrt-rtx"
"""Builds plans for GPUs that are not there."""

_FORMS = (Form("onnx", "float32"), Form("onnx", "float16", fixed_rows=True))


@dataclass(frozen=True)
class ExportArguments:
    """Export networks in every precision; time, weigh and compare with torch what each engine makes of them."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Model folders, checkpoint files, or presets' names, whose weights are then seeded by name."""
    engines: tuple[str, ...] = (
        *(BASE, "onnxruntime-int8", "openvino", "openvino-bfloat16", "openvino-int8"),
        *("onnxruntime-cuda", "onnxruntime-cuda-float16", "onnxruntime-tensorrt-float16"),
        *("tensorrt-float16", "tensorrt-int8", "tensorrt-rtx-float16", "tensorrt-rtx-int8"),
    )
    """Engines to run each on, by the names of `bench engine`."""
    plans: tuple[str, ...] = ("8.6", "8.9")
    """Compute capabilities to build float16 plans for, where TensorRT-RTX is installed, which needs no GPU for it."""
    instances: int = 20
    """Instances that enter masks, forced."""
    rounds: int = 8
    """Calls of each subject that are kept."""
    scenes: int = 4
    """Generated scenes on which answers are compared with torch's."""
    threads: int = 0
    """CPU threads of each engine; 0 for as many as this process may use."""
    seed: int = 1
    """Seed of the order."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        require("targets", bool(self.targets), "one or more", self.targets)
        graphs = bool(self.engines) and not any(named_engine(each).is_torch for each in self.engines)
        require("engines", graphs, "one or more that run a graph; torch is what they are compared with", self.engines)
        require("instances", 1 <= self.instances <= 1000, "1 to 1000", self.instances)
        require("rounds", self.rounds >= LEAST, f"{LEAST} or more", self.rounds)
        require("scenes", self.scenes >= 1, "1 or more", self.scenes)
        require("threads", 0 <= self.threads <= 1024, "0 to 1024", self.threads)


@dataclass
class Findings:
    """What a run came to so far, by subject or by target."""

    subjects: dict[str, dict[str, Any]]
    files: dict[str, list[dict[str, Any]]]
    left_out: dict[str, str]
    errors: dict[str, str]
    stopped: bool = False


def export(arguments: ExportArguments) -> int:
    """Run the measurement, print its tables, and end in one line of JSON; the exit status."""
    common = Subject("", BASE, threads=arguments.threads or usable_cpus(), instances=arguments.instances)
    subjects = parse_subjects(arguments.targets, arguments.engines, (1,), common)
    prepare_out(arguments.out)
    watch, findings = Watch(), Findings({}, {}, {}, {})
    try:
        for target in dict.fromkeys(arguments.targets):
            _measure([each for each in subjects if each.target == target], arguments, watch, findings)
            if findings.stopped:
                break
    except KeyboardInterrupt:
        findings.stopped = True
    report = _report(arguments, watch, findings)
    print(*lines(report), sep="\n")
    emit(report, arguments.out)
    return INTERRUPTED if findings.stopped else int(not findings.subjects)


def lines(report: Document) -> list[str]:
    """The report as tables for people."""
    rows = [["subject", "graph ms", "to base", "MiB", "matched", "mask IoU", "score error"]]
    for name, subject in report["subjects"].items():
        graph_ms = subject["summary_ms_a_frame"]["graph"].get("median", 0.0)
        to_base = ratio_text(subject["graph_ratio_to_base"]) if "graph_ratio_to_base" in subject else ""
        rows.append([name, f"{graph_ms:.1f}", to_base, f"{subject['file_bytes'] / 2**20:.1f}", *parity_words(subject)])
    files = [["file", "MiB", "seconds", "memory MiB"]]
    for target, entries in report["files"].items():
        for entry in entries:
            memory = entry["host_peak_bytes"] / 2**20
            size, seconds = entry["bytes"] / 2**20, entry["seconds"]
            files.append([f"{target} {entry['name']}", f"{size:.1f}", f"{seconds:.1f}", f"{memory:.0f}"])
    left_out = [f"not measured: {name}: {reason}" for name, reason in report["left_out"].items()]
    return [*aligned(rows), *aligned(files), *left_out]


def parity_words(subject: dict[str, Any]) -> list[str]:
    """The share of matched instances, mask IoU and largest score error, as far as they are known."""
    parity = subject.get("parity") or {}
    shares = [parity.get("matched"), parity.get("mask_iou")]
    percents = ["" if share is None else f"{share:.4f}" for share in shares]
    return [*percents, f"{parity['score_error']:.1e}" if parity else ""]


def _measure(subjects: list[Subject], arguments: ExportArguments, watch: Watch, findings: Findings) -> None:
    """One target: its files, then all that runs here side by side, then against torch."""
    target = subjects[0].target
    here, missing = those_that_run(subjects)
    findings.left_out |= missing
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        writer = GraphWriter(Path(folder) / "graphs")
        _write_forms(subjects[0], arguments, writer, findings)
        here, errors = write_graphs(here, writer)
        findings.errors |= errors
        findings.files[target] = [_file_report(form, written) for (_, form), written in writer.written.items()]
        path, found = store_frames(load_frames(None, arguments.scenes, None), Path(folder)), Found()
        plan = Plan(arguments.rounds, arguments.scenes, arguments.seed, warm_up)
        measure([Entrant(each.name, 1, partial(start, each, path)) for each in here], plan, watch, found)
        findings.errors |= found.errors
        findings.stopped |= found.stopped
        here = [each for each in here if each.name in found.courses]
        parity = {} if found.stopped else _parity(here, path, findings)
        base = base_of(f"{target}/{BASE}", found)
        for subject in here:
            row = subject_report(subject, found, base) | {"base": base, "parity": parity.get(subject.name)}
            size_bytes = writer.written[target, subject.named.form(1)].size_bytes
            findings.subjects[subject.name] = row | {"file_bytes": size_bytes}


def _write_forms(subject: Subject, arguments: ExportArguments, writer: GraphWriter, findings: Findings) -> None:
    """What no engine of this machine may ask for: the graph for GPUs, and plans for GPUs that are not here."""
    plans = arguments.plans if find_spec("tensorrt_rtx") is not None else ()
    forms = [*_FORMS, *(Form(_PLANS, "float16", True, batch=1, compute_capability=each) for each in plans)]
    for form in forms:
        try:
            writer.write(subject, form)
        except StreetMaskError as error:
            findings.errors[f"{subject.target}: {_form_name(form)}"] = str(error)
    if len(plans) < len(arguments.plans):
        findings.left_out[f"{subject.target}: plans"] = "TensorRT-RTX, which builds them, is not installed"


def _parity(subjects: list[Subject], path: Path, findings: Findings) -> dict[str, dict[str, Any]]:
    if not subjects:
        return {}
    print(f"comparing {subjects[0].target} with torch", flush=True)
    try:
        return ask_parity(subjects, path)
    except DataError as error:
        findings.errors[f"{subjects[0].target}: parity"] = str(error)
        return {}


def _file_report(form: Form, written: Written) -> dict[str, Any]:
    return {
        "name": _form_name(form),
        "made_from": _form_name(written.source) if written.source else "the weights",
        "bytes": written.size_bytes,
        "seconds": written.seconds,
        "host_peak_bytes": written.host_peak_bytes,
    }


def _form_name(form: Form) -> str:
    """For people: ``onnx float16, fixed rows, GridSample`` or ``tensorrt-rtx float16 for 8.9``."""
    if form.kind != "onnx":
        return f"{form.kind} {form.precision}" + (f" for {form.compute_capability}" if form.compute_capability else "")
    return f"onnx {form.precision}" + (f", fixed rows, {form.lowering}" if form.fixed_rows else "")


def _report(arguments: ExportArguments, watch: Watch, findings: Findings) -> Document:
    settings = {key: value for key, value in asdict(arguments).items() if key not in ("targets", "out")}
    settings["threads"] = arguments.threads or usable_cpus()
    return document(
        "export",
        watch,
        settings,
        findings.stopped or bool(findings.errors),
        base="",
        subjects=findings.subjects,
        files=findings.files,
        left_out=findings.left_out,
        errors=findings.errors,
    )
