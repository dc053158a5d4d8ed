"""``bench table``: BENCHMARKS.md from runs, so that no figure in it is typed by hand."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import tyro

from bench import (
    decode_table,
    engine_table,
    export_table,
    faults_table,
    serve_table,
    track_table,
    train_table,
    triton_table,
)
from bench.report import Document, Kind, read_document
from scene.errors import ConfigurationError

_INTRODUCTION = """# Benchmarks

Written by `bench table` from the runs of `make bench` and `make bench-long`; do not edit. Milliseconds are this
machine's and of that day; ratios were measured side by side in one run and carry further. Intervals are at 95 in 100,
for what varies within a run."""


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
    for kind, title, note, parts_of in (
        ("export", "Presets, precisions and engines", export_table.NOTE, export_table.export_parts),
        ("engine", "Networks and engines", engine_table.NOTE, partial(engine_table.engine_parts, of_kind["accuracy"])),
        ("accuracy", "Accuracy", "", engine_table.accuracy_parts),
        ("serve", "Serving", serve_table.NOTE, serve_table.serve_parts),
        ("faults", "Faults", faults_table.NOTE, faults_table.faults_parts),
        ("track", "Tracking", track_table.NOTE, track_table.track_parts),
        ("decode", "Decoding at reduced scale", decode_table.NOTE, decode_table.decode_parts),
        ("triton", "Against Triton", triton_table.NOTE, triton_table.triton_parts),
        ("train", "Training", train_table.NOTE, train_table.train_parts),
    ):
        if of_kind[kind]:
            parts += [f"## {title}", *filter(None, [note]), *(part for run in of_kind[kind] for part in parts_of(run))]
    return "\n\n".join(parts) + "\n"
