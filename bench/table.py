"""``bench table``: BENCHMARKS.md from runs, so that no figure in it is typed by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from bench.report import Document, Kind, ratio_text, read_document
from bench.train_lines import LOADER_RATES, fed_words
from scene.errors import ConfigurationError

_INTRODUCTION = """# Benchmarks

Written by `bench table` from the runs of `make bench`; do not edit. Milliseconds are this machine's and of that day;
ratios were measured side by side in one run and carry further. Intervals are at 95 in 100, for
what varies within a run."""

_ENGINE_NOTE = """Milliseconds a frame, medians unless said otherwise, from the whole frame to every mask on the whole
frame: *prepare* stretches it to the network's input, *network* is backbone to heads, *nms* decodes and suppresses,
*masks* assembles and rescores, *paste* lays each mask on the frame. A fused graph's time is divided as its own profile
divides it; it makes masks of the rows that are drawn, as the server asks it to, or, as `every-row`, of the hundred that
AP counts. Torch makes every row's; *torch-plain* is eager torch as published code runs it, *torch* has BatchNorm folded
and maps channels_last. Presets have weights seeded by name, which find nothing but take as long. Decoding the picture
is not in it; it is in the served figures. Memory is a process's most, the shown frames in it."""

_SERVE_NOTE = """Open loop: a frame is due by the clock, and its age at the answer counts from then, whatever the
server does. A frame that waits is replaced by a newer one, and the client is told: *dropped*. *Lost* are frames
that failed, stayed unanswered or could not be sent. Client and server share the machine."""

_TRAIN_NOTE = """A step is forward, losses, backward and update of the trainer that `streetmask train` runs, on
augmented pictures that lie ready; *times base* is in images a second. The loader reads, decodes, augments and collates
alone; *per CPU second* is what one core that does nothing else would load."""

_LOST = ("failed", "unanswered", "unsent")
_COLUMNS = ("prepare", "network", "nms", "masks", "paste")


@dataclass(frozen=True)
class TableArguments:
    """Write the tables of runs as one Markdown page."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files of runs' JSON."""
    out: Path = Path("BENCHMARKS.md")
    """Page to write."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigurationError("runs", "expected one file at least")


def table(arguments: TableArguments) -> None:
    """Read the runs and write the page."""
    found = [read_document(path) for path in arguments.runs]
    arguments.out.write_text(page(found))
    print(f"wrote {arguments.out}")


def page(runs: list[Document]) -> str:
    """The whole page."""
    of_kind: dict[str, list[Document]] = {kind: [] for kind in get_args(Kind)}
    for run in runs:
        of_kind[run["kind"]].append(run)
    parts = [_INTRODUCTION]
    if of_kind["engine"]:
        parts += ["## Networks and engines", _ENGINE_NOTE]
        parts += [part for run in of_kind["engine"] for part in _engine_parts(run, of_kind["accuracy"])]
    if of_kind["accuracy"]:
        parts += ["## Accuracy", *(part for run in of_kind["accuracy"] for part in _accuracy_parts(run))]
    if of_kind["serve"]:
        parts += ["## Serving", _SERVE_NOTE, *(part for run in of_kind["serve"] for part in _serve_parts(run))]
    if of_kind["train"]:
        parts += ["## Training", _TRAIN_NOTE, *(part for run in of_kind["train"] for part in _train_parts(run))]
    return "\n\n".join(parts) + "\n"


def _engine_parts(run: Document, accuracy: list[Document]) -> list[str]:
    heads = ["subject", "median", "p90", "p95", "max", *_COLUMNS, "masks a frame", "to base", "mask AP"]
    heads += ["load s", "memory MiB"]
    rows = []
    for name, subject in run["subjects"].items():
        a_frame = subject["summary_ms_a_frame"]
        if "ratio_to_base" not in subject:
            continue
        stages = {stage: row.get("median") for stage, row in a_frame.items()} | subject.get("graph_split_ms", {})
        rows.append(
            [f"`{name}`", *(_number(a_frame["total"][key]) for key in ("median", "p90", "p95", "max"))]
            + [_number(stages.get(stage)) for stage in _COLUMNS]
            + [_number(subject["pasted_a_frame"]), ratio_text(subject["ratio_to_base"]), _ap_beside(subject, accuracy)]
            + [_number((subject["load_ms"] + subject["first_call_ms"]) / 1000), _mebibytes(subject["host_peak_bytes"])]
        )
    settings = run["settings"]
    width, height = settings["frame_size"]
    forced = f"; {settings['instances']} instances a frame, whatever they score" if settings.get("instances") else ""
    has_ap = any(_ap_beside(subject, accuracy) for subject in run["subjects"].values())
    said_of_ap = _first_data(accuracy) if has_ap else ""
    asked = (
        f"{settings['rounds']} calls each, interleaved; {settings['frame_count']} frames of {width}x{height} "
        f"({settings['frames']}); {settings['threads']} threads{forced}. "
        f"Base: `{run['base']}`. {said_of_ap}"
    )
    return [_machine(run), asked.strip(), _markdown(heads, rows)]


def _accuracy_parts(run: Document) -> list[str]:
    heads = ["subject", "data", "pictures", "box AP", "mask AP", "mask AP50", "small", "medium", "large"]
    heads += ["Cityscapes AP", "change"]
    rows, classes = [], []
    for name, sets in run["accuracy"].items():
        for data, row in sets.items():
            mask = row["mask"]
            change = f"{100 * row['change']['mask_ap']:+.3f}" if "change" in row else ""
            rows.append(
                [f"`{name}`", data, str(row["images"]), _percent(row["box"]["ap"])]
                + [_percent(mask[key]) for key in ("ap", "ap50", "small", "medium", "large")]
                + [_percent(row["cityscapes"]["ap"]), change]
            )
            classes.append([f"`{name}`", data, *(_percent(figures["ap"]) for figures in mask["by_class"].values())])
    note = """COCO's AP in percent at full frame size, and Cityscapes' own of masks; *change* is of mask AP against the
same weights in float32 torch."""
    parts = [_machine(run), note, _markdown(heads, rows)]
    names = [list(row["mask"]["by_class"]) for sets in run["accuracy"].values() for row in sets.values()]
    by_set = {data: names[number] for number, (_, data, *_rest) in enumerate(classes)}
    for data, columns in by_set.items():
        chosen = [row for row in classes if row[1] == data and len(row) == len(columns) + 2]
        parts.append(f"Mask AP by class, {data}:")
        parts.append(_markdown(["subject", *columns], [[row[0], *row[2:]] for row in chosen]))
    return parts


def _serve_parts(run: Document) -> list[str]:
    heads = ["load", "offered fps", "answered fps", "dropped", "lost", "age p50", "p95", "p99", "max", "sent late p95"]
    heads += ["fairness"]
    rows = []
    for name, load in run.get("loads", {}).items():
        frames, age = load["frames"], load["age_ms"]
        rows.append(
            [name, _number(load["offered_fps"]), _number(load["answered_fps"])]
            + [f"{frames.get('dropped', 0)} of {frames['due']}", str(sum(frames.get(kind, 0) for kind in _LOST))]
            + [_number(age.get(key)) for key in ("median", "p95", "p99", "max")]
            + [_number(load["late_ms"].get("p95")), f"{load['fairness']:.3f}"]
        )
    settings = run["settings"]
    width, height = settings["frame_size"]
    sent = "raw pixels" if not settings["jpeg_quality"] else f"JPEG of quality {settings['jpeg_quality']}"
    asked = (
        f"{settings['streams']} stream(s), {settings['arrivals']} arrivals, {settings['seconds']:g} s a load, "
        f"{width}x{height} ({settings['frames'] or 'generated'}) as {sent}."
    )
    parts = [_machine(run), asked, _markdown(heads, rows), *_throughput_parts(run)]
    first = next(iter(run.get("loads", {}).values()), None)
    if first and first["server_ms"]:
        stages = [
            [name, *(_number(row[key]) for key in ("median", "p95", "p99"))] for name, row in first["server_ms"].items()
        ]
        parts += [
            "The server's own stages under the first load, milliseconds:",
            _markdown(["stage", "median", "p95", "p99"], stages),
        ]
    return parts


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
    if run.get("server_memory"):
        lines.append(f"The server's memory: {_mebibytes(run['server_memory']['resident_bytes'])} MiB")
    return ["\n".join(f"- {line}." for line in lines)] if lines else []


def _train_parts(run: Document) -> list[str]:
    heads = ["subject", "images a second", "median ms a step", "p95", "max", "times base", "memory MiB", "GPU MiB"]
    rows = [
        [f"`{name}`", f"{row['images_a_second']:.2f}"]
        + [_number(row["summary_ms"]["total"][key]) for key in ("median", "p95", "max")]
        + [ratio_text(row["times_base"]), _mebibytes(row["host_peak_bytes"]), _mebibytes(row["device_peak_bytes"])]
        for name, row in run["subjects"].items()
        if "times_base" in row
    ]
    settings = run["settings"]
    parts = [
        _machine(run),
        f"{settings['rounds']} steps each, interleaved; {settings['pictures']} pictures ({settings['data']}); "
        f"{settings['threads']} threads. Base: `{run['base']}`.",
    ]
    parts += [_markdown(heads, rows)] if rows else []
    loaders = [[workers, *(_number(row[key]) for key in LOADER_RATES)] for workers, row in run["loader"].items()]
    if loaders:
        loader_heads = ["loader processes", "images a second", "a process", "per CPU second"]
        parts.append(_markdown(loader_heads, loaders))
    return [*parts, f"{fed_words(run['fed'])}."] if run["fed"] else parts


def _machine(run: Document) -> str:
    machine, meanwhile = run["machine"], run["meanwhile"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    parts = [
        f"{machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_gib']:g} GiB",
        machine["gpu"] or "no GPU",
        f"Python {machine['python']}",
        packages,
        f"commit {machine['commit'] or 'unknown'}",
        f"{run['ended'][:10]}; others took {meanwhile['others_cpu_share']:.0%} of the CPUs meanwhile",
    ]
    stopped = " **Stopped early.**" if run["partial"] else ""
    troubles = [*run["warnings"], *(run["errors"].values() if isinstance(run["errors"], dict) else run["errors"])]
    troubles += [f"{name}: {text}" for name, load in run.get("loads", {}).items() for text in load["errors"]]
    warnings = "".join(f" **Warning: {text}.**" for text in troubles)
    return "*" + "; ".join(parts) + ".*" + stopped + warnings


def _ap_beside(subject: dict[str, Any], accuracy: list[Document]) -> str:
    """Mask AP of the same weights on the same engine, on the first data set that they were measured on."""
    name = f"{subject['target']}/{subject['engine']}"
    for run in accuracy:
        for row in run["accuracy"].get(name, {}).values():
            if row["source_sha256"] == subject["source_sha256"]:
                return _percent(row["mask"]["ap"])
    return ""


def _first_data(accuracy: list[Document]) -> str:
    for run in accuracy:
        for sets in run["accuracy"].values():
            name, row = next(iter(sets.items()))
            return f"Mask AP: {name}, {row['images']} pictures, of the same file on the same engine."
    return ""


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    marks = ["---" if column == 0 else "---:" for column in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, marks, *rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:.0f}"
