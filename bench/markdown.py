"""Pieces of BENCHMARKS.md: tables, figures in them, and the line that says where and when."""

from bench.report import Document


def markdown(heads: list[str], rows: list[list[str]], words: int = 1) -> str:
    """A table whose first columns are words, the others figures."""
    marks = ["---" if column < words else "---:" for column in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, marks, *rows))


def number(value: float | None) -> str:
    """One digit behind the point, two where it is small; empty for none."""
    return "" if value is None else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"


def percent(value: float | None) -> str:
    """Of a share of one; empty for none."""
    return "" if value is None else f"{100 * value:.2f}"


def mebibytes(value: int | None) -> str:
    """Of bytes; empty for none."""
    return "" if value is None else f"{value / 2**20:.0f}"


def left_out(run: Document) -> list[str]:
    """What the run was asked for and could not measure, with the reasons; the names of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, reason in run.get("left_out", {}).items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    if not reasons:
        return []
    return [
        "Not measured here:\n\n" + "\n".join(f"- {', '.join(names)}: {reason}." for reason, names in reasons.items())
    ]


def machine(run: Document) -> str:
    """Hardware, versions, commit and day, what others did meanwhile, and what went wrong."""
    hardware, meanwhile = run["machine"], run["meanwhile"]
    packages = ", ".join(f"{name} {version}" for name, version in hardware["packages"].items())
    parts = [
        f"{hardware['cpus']} CPUs ({hardware['cpu']}), {hardware['memory_gib']:g} GiB",
        hardware["gpu"] or "no GPU",
        f"Python {hardware['python']}",
        packages,
        f"commit {hardware['commit'] or 'unknown'}",
        f"{run['ended'][:10]}; others took {meanwhile['others_cpu_share']:.0%} of the CPUs meanwhile",
    ]
    stopped = " **Stopped early.**" if run["partial"] else ""
    troubles = [*run["warnings"], *(run["errors"].values() if isinstance(run["errors"], dict) else run["errors"])]
    troubles += [f"{name}: {text}" for name, load in run.get("loads", {}).items() for text in load["errors"]]
    warnings = "".join(f" **Warning: {text}.**" for text in troubles)
    return "*" + "; ".join(parts) + ".*" + stopped + warnings
