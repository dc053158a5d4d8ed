"""A run of ``bench export`` on the page: the table of preset, precision and engine."""

from typing import Any

from bench.exporting import parity_words
from bench.markdown import left_out, machine, markdown, mebibytes, number
from bench.report import Document, ratio_text

NOTE = """Every form of a network on every engine that runs here. *Graph* is milliseconds from a prepared image to
scored masks, the median of calls in turns with the others of its network; *to base* is held against the first of them,
float32 on ONNX Runtime. *Matched* is the share of instances that the engine and torch's deployed module in float32 both
answer: of one class, boxes overlapping by 0.9; *mask IoU* and the largest *score error* are of those. All forced rows
count, also such as would never be drawn: with weights seeded by name, which find nothing, rows lie close together, and
rounding reorders many. What is drawn is held to the limits of `streetmask verify`. In eight bits such a network keeps
its first convolution alone, as no layer of it can be called sensitive; weights that were trained may keep more. A file
is written in a process of its own: *seconds* from the weights, or from the graph that it is made from, and the most
*memory* of the process."""


def export_parts(run: Document) -> list[str]:
    """What each engine makes of each network, what could not be run, and what each file took."""
    heads = ["subject", "graph ms", "p95", "to base", "file MiB", "matched", "mask IoU", "score error", "memory MiB"]
    rows = []
    for name, subject in run["subjects"].items():
        graph = subject["summary_ms_a_frame"]["graph"]
        to_base = ratio_text(subject["graph_ratio_to_base"]) if "graph_ratio_to_base" in subject else ""
        words = [f"`{name}`", number(graph.get("median")), number(graph.get("p95")), to_base]
        rows.append(
            [*words, _size(subject["file_bytes"]), *parity_words(subject), mebibytes(subject["host_peak_bytes"])]
        )
    files = [_file_row(target, entry) for target, entries in run["files"].items() for entry in entries]
    settings = run["settings"]
    asked = (
        f"{settings['rounds']} calls each, interleaved; {settings['instances']} instances a frame, whatever they "
        f"score; {settings['scenes']} generated scenes; {settings['threads']} threads."
    )
    file_heads = ["network", "file", "made from", "MiB", "seconds", "memory MiB"]
    return [machine(run), asked, markdown(heads, rows), *left_out(run), markdown(file_heads, files)]


def _file_row(target: str, entry: dict[str, Any]) -> list[str]:
    words = [f"`{target}`", entry["name"], entry["made_from"], _size(entry["bytes"]), number(entry["seconds"])]
    return [*words, mebibytes(entry["host_peak_bytes"])]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f}"
