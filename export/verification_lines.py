"""What was verified, for people as lines and for programs as plain data."""

from collections.abc import Sequence
from dataclasses import asdict

from export.verify import Report
from scene.artifact import Verification

_HEADS = (
    "file",
    "engine",
    "precision",
    "pictures",
    "matched",
    "mask IoU",
    "box AP",
    "mask AP",
    "score error",
    "verdict",
)


def lines(report: Report) -> list[str]:
    """For people: the table, then what was scored, what could not be judged, what cannot run here, and what broke."""
    remarks = [f"{_way(each)}: {remark}" for each in report.verified for remark in each.remarks]
    return [
        *table(report.verified),
        *([f"AP on {report.scored_on}"] if report.scored_on else []),
        *remarks,
        *(f"not here: {way}: {reason}" for way, reason in report.absent.items()),
        *(f"beyond its limit: {sentence}" for sentence in report.beyond),
    ]


def table(verified: Sequence[Verification]) -> list[str]:
    """A row a record; "-" for what was not compared."""
    rows = [_HEADS, *(_row(each) for each in verified)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def as_dict(report: Report) -> dict[str, object]:
    """Plain data for JSON, without the golden answers."""
    verified = [{name: value for name, value in asdict(each).items() if name != "golden"} for each in report.verified]
    return {"verified": verified, "absent": report.absent, "scored_on": report.scored_on, "beyond": report.beyond}


def _row(record: Verification) -> tuple[str, ...]:
    def shown(name: str, form: str) -> str:
        return form.format(record.figures[name]) if name in record.figures else "-"

    return (
        record.file,
        record.engine,
        record.precision,
        shown("pictures", "{:.0f}"),
        shown("matched", "{:.2f} %"),
        shown("mask_iou", "{:.4f}"),
        shown("box_ap_change", "{:+.2f}"),
        shown("mask_ap_change", "{:+.2f}"),
        shown("scores_largest", "{:.1e}"),
        _verdict(record),
    )


def _verdict(record: Verification) -> str:
    if record.beyond:
        return "beyond its limit"
    return "kept" if record.judged else "not judged"


def _way(record: Verification) -> str:
    return f"{record.file} on {record.engine} in {record.precision}"
