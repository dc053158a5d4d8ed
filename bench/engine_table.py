"""Runs of ``bench engine`` and ``bench accuracy`` on the page: what is fast beside what is right."""

from typing import Any

from bench.markdown import left_out, machine, markdown, mebibytes, number, percent
from bench.report import Document, ratio_text

NOTE = """Milliseconds a frame, medians unless said otherwise, from the whole frame to every mask on the whole frame:
*decode*, where it is shown, reads a JPEG of quality 90 that lies in memory, as the server does; *prepare* stretches the
picture to the network's input, *graph* is from there to scored masks at the network's size, and made of *network*,
backbone to heads, *nms*, which decodes boxes and suppresses, and *masks*, which assembles and rescores; *paste* lays
them on the frame: as many arrays of 0 and 1 as *masks a frame* says, uint8, each of the frame's full size. A fused
graph's time is divided as its engine's own profile divides it; it makes masks of the rows that are drawn, as the server
asks it to, or, as `every-row`, of the hundred that AP counts. Torch makes every row's; *torch-plain* is eager torch as
published code runs it, *torch* has BatchNorm folded and maps channels_last. Presets have weights seeded by name, which
find nothing but take as long; in eight bits they keep their first convolution alone. *To base* is of the whole, *graph
to base* of the graph alone. Memory is a process's most, the shown frames in it."""

_COLUMNS = ("decode", "prepare", "graph", "network", "nms", "masks", "paste")


def engine_parts(accuracy: list[Document], run: Document) -> list[str]:
    """Every subject's time by stage; ``accuracy`` are runs whose AP stands beside."""
    settings, rows = run["settings"], []
    columns = [stage for stage in _COLUMNS if stage != "decode" or settings.get("decode")]
    heads = ["subject", "median", "p90", "p95", "max", *columns, "masks a frame", "to base", "graph to base", "mask AP"]
    heads += ["load s", "memory MiB"]
    for name, subject in run["subjects"].items():
        a_frame = subject["summary_ms_a_frame"]
        if "ratio_to_base" not in subject:
            continue
        stages = {stage: row.get("median") for stage, row in a_frame.items()} | subject.get("graph_split_ms", {})
        rows.append(
            [f"`{name}`", *(number(a_frame["total"][key]) for key in ("median", "p90", "p95", "max"))]
            + [number(stages.get(stage)) for stage in columns]
            + [number(subject["pasted_a_frame"])]
            + [ratio_text(subject[key]) for key in ("ratio_to_base", "graph_ratio_to_base")]
            + [_ap_beside(subject, accuracy)]
            + [number((subject["load_ms"] + subject["first_call_ms"]) / 1000), mebibytes(subject["host_peak_bytes"])]
        )
    width, height = settings["frame_size"]
    forced = f"; {settings['instances']} instances a frame, whatever they score" if settings.get("instances") else ""
    has_ap = any(_ap_beside(subject, accuracy) for subject in run["subjects"].values())
    said_of_ap = _first_data(accuracy) if has_ap else ""
    asked = (
        f"{settings['rounds']} calls each, interleaved; {settings['frame_count']} frames of {width}x{height} "
        f"({settings['frames']}); {settings['threads']} threads{forced}. "
        f"Base: `{run['base']}`. {said_of_ap}"
    )
    return [machine(run), asked.strip(), markdown(heads, rows), *left_out(run)]


def accuracy_parts(run: Document) -> list[str]:
    """AP of every subject, in all and by class."""
    heads = ["subject", "data", "pictures", "box AP", "mask AP", "mask AP50", "small", "medium", "large"]
    heads += ["Cityscapes AP", "change"]
    rows, classes = [], []
    for name, sets in run["accuracy"].items():
        for data, row in sets.items():
            mask = row["mask"]
            change = f"{100 * row['change']['mask_ap']:+.3f}" if "change" in row else ""
            rows.append(
                [f"`{name}`", data, str(row["images"]), percent(row["box"]["ap"])]
                + [percent(mask[key]) for key in ("ap", "ap50", "small", "medium", "large")]
                + [percent(row["cityscapes"]["ap"]), change]
            )
            classes.append([f"`{name}`", data, *(percent(figures["ap"]) for figures in mask["by_class"].values())])
    note = """COCO's AP in percent at full frame size, and Cityscapes' own of masks; *change* is of mask AP against the
same weights in float32 torch."""
    parts = [machine(run), note, markdown(heads, rows)]
    names = [list(row["mask"]["by_class"]) for sets in run["accuracy"].values() for row in sets.values()]
    by_set = {data: names[row] for row, (_, data, *_rest) in enumerate(classes)}
    for data, columns in by_set.items():
        chosen = [row for row in classes if row[1] == data and len(row) == len(columns) + 2]
        parts.append(f"Mask AP by class, {data}:")
        parts.append(markdown(["subject", *columns], [[row[0], *row[2:]] for row in chosen]))
    return parts + left_out(run)


def _ap_beside(subject: dict[str, Any], accuracy: list[Document]) -> str:
    """Mask AP of the same weights on the same engine, on the first data set that they were measured on."""
    name = f"{subject['target']}/{subject['engine']}"
    for run in accuracy:
        for row in run["accuracy"].get(name, {}).values():
            if row["source_sha256"] == subject["source_sha256"]:
                return percent(row["mask"]["ap"])
    return ""


def _first_data(accuracy: list[Document]) -> str:
    for run in accuracy:
        for sets in run["accuracy"].values():
            name, row = next(iter(sets.items()))
            return f"Mask AP: {name}, {row['images']} pictures, of the same file on the same engine."
    return ""
