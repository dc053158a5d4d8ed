"""A run's document: written as one line of JSON, read again by ``bench compare`` and ``bench table``."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from bench.machine import Watch
from scene.errors import DataError

SCHEMA_VERSION = 2

Kind = Literal["engine", "export", "serve", "accuracy", "train", "track", "decode", "triton", "faults"]
Document = dict[str, Any]


def document(kind: Kind, watch: Watch, settings: dict[str, Any], partial: bool, **content: Any) -> Document:
    """The envelope that every run shares: what was asked, on which machine, and what the machine did meanwhile."""
    return {
        "kind": kind,
        "schema": SCHEMA_VERSION,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": partial,
        "settings": settings,
        **watch.report(),
        **content,
    }


def prepare_out(out: Path | None) -> None:
    """Make sure that the run's file can be written before anything is measured for it."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("a").close()


def emit(found: Document, out: Path | None) -> None:
    """Print the document as the last line of stdout; with ``out`` the samples go only into that file."""
    for warning in found["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if found["partial"]:
        print("warning: stopped early; what was measured is kept, marked partial", file=sys.stderr)
    if out is not None:
        out.write_text(json.dumps(found, allow_nan=False) + "\n")
        found = _without_samples(found)
    print(json.dumps(found, allow_nan=False), flush=True)


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows of words as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def ratio_text(found: dict[str, float]) -> str:
    """A ratio with its interval, for people."""
    return f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def read_document(path: Path) -> Document:
    """The document in a run's file, or in the last line of its output; raises ``DataError`` for anything else."""
    lines = path.read_text().strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or found.get("kind") not in get_args(Kind):
        raise DataError(f"{path} holds no run: expected the JSON line that `bench` ends with, or its --out file")
    if found.get("schema") != SCHEMA_VERSION:
        raise DataError(f"{path} has schema {found.get('schema')}, this bench reads {SCHEMA_VERSION}; measure again")
    return found


def _without_samples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_samples(inner) for key, inner in value.items() if not key.startswith("samples")}
    return [_without_samples(inner) for inner in value] if isinstance(value, list) else value
