"""``bench compare``: whether something changed between two runs, or only the machine's mood did."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench.report import Document, read_document
from bench.samples import CONFIDENCE, Ratio, ratio, ratio_of_ratios
from scene.errors import ConfigurationError, DataError

_AP_NOISE = 1e-4
"""AP has no noise on the same pictures; ties that sort otherwise move it by less than this."""


@dataclass(frozen=True)
class CompareArguments:
    """Compare two runs of one kind; ends with status 1 where B is worse than A beyond noise and tolerance."""

    a: Annotated[Path, tyro.conf.Positional]
    """The run before: file of its JSON."""
    b: Annotated[Path, tyro.conf.Positional]
    """The run after."""
    tolerance: float = 0.0
    """Share by which B may be worse, though it is certain."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 10:
            raise ConfigurationError("tolerance", f"expected 0 or more and less than 10, but {self.tolerance} came")


@dataclass(frozen=True)
class Change:
    """How one figure changed. ``ratio`` is B over A with its interval; ``better_low`` says that less is better."""

    name: str
    ratio: Ratio
    better_low: bool
    how: str

    def verdict(self, tolerance: float) -> str:
        """ "better", "worse" or "no change": only what the whole interval says counts."""
        worst, best = (
            (self.ratio.low, self.ratio.high) if self.better_low else (1 / self.ratio.high, 1 / self.ratio.low)
        )
        if worst > 1 + tolerance:
            return "worse"
        return "better" if best < 1 else "no change"


def compare(arguments: CompareArguments) -> int:
    """Print every figure that both runs have with its verdict; 1 for a regression."""
    a, b = read_document(arguments.a), read_document(arguments.b)
    if a["kind"] != b["kind"]:
        raise DataError(f"{arguments.a} is a run of bench {a['kind']}, {arguments.b} of bench {b['kind']}")
    for sentence in differences(a, b):
        print(f"note: {sentence}")
    found = list(changes(a, b))
    if not found:
        raise DataError(f"{arguments.a} and {arguments.b} have no figure in common")
    verdicts = [change.verdict(arguments.tolerance) for change in found]
    for change, verdict in zip(found, verdicts, strict=True):
        interval = f"{100 * (change.ratio.low - 1):+.1f} to {100 * (change.ratio.high - 1):+.1f} %"
        print(f"{verdict:10} {change.name}: {100 * (change.ratio.ratio - 1):+.1f} % ({interval}), {change.how}")
    print(f"intervals hold the true change {CONFIDENCE:.0%} of the time")
    return int("worse" in verdicts)


def differences(a: Document, b: Document) -> list[str]:
    """What makes two runs less comparable, a sentence each."""
    found = [f"run {name} was stopped early" for name, run in (("A", a), ("B", b)) if run["partial"]]
    for key in ("cpu", "cpus", "gpu", "packages"):
        if a["machine"].get(key) != b["machine"].get(key):
            found.append(f"{key}: {a['machine'].get(key)} in A, {b['machine'].get(key)} in B")
    asked = {key for key in a["settings"] | b["settings"] if key not in ("out", "seed", "server", "metrics")}
    for key in sorted(asked):
        if a["settings"].get(key) != b["settings"].get(key):
            found.append(f"{key} was {a['settings'].get(key)} in A and {b['settings'].get(key)} in B")
    return found + [f"in {name}, {text}" for name, run in (("A", a), ("B", b)) for text in run["warnings"]]


def changes(a: Document, b: Document) -> Iterator[Change]:
    """Every figure that both have."""
    if a["kind"] == "engine":
        yield from _engine_changes(a, b)
    elif a["kind"] == "serve":
        yield from _serve_changes(a, b)
    else:
        yield from _accuracy_changes(a, b)


def _engine_changes(a: Document, b: Document) -> Iterator[Change]:
    """Against the run's base where both have the same one: a machine that was slower as a whole then cancels out."""
    base = a["base"] if a["base"] == b["base"] else ""
    for name in _shared(a["subjects"], b["subjects"]):
        ours, theirs = (_total_ms(run, name) for run in (b, a))
        if not ours or not theirs:
            continue
        if base and name != base:
            paired = ratio_of_ratios((ours, _total_ms(b, base)), (theirs, _total_ms(a, base)))
            yield Change(name, paired, True, f"against {base}")
        else:
            yield Change(name, ratio(ours, theirs), True, "milliseconds, the machine's mood included")


def _serve_changes(a: Document, b: Document) -> Iterator[Change]:
    for name in _shared(a.get("loads", {}), b.get("loads", {})):
        ours, theirs = (_samples(run["loads"][name], "samples_age_ms") for run in (b, a))
        if ours and theirs:
            yield Change(f"age under {name}", ratio(ours, theirs), True, "milliseconds, the machine's mood included")
    for key in ("engine", "path"):
        runs = [run.get("throughput", {}) for run in (b, a)]
        if all(f"samples_bare_{key}_fps" in run for run in runs):
            after, before = ((run["samples_served_fps"], run[f"samples_bare_{key}_fps"]) for run in runs)
            yield Change("throughput", ratio_of_ratios(after, before), False, f"against the bare {key}")


def _accuracy_changes(a: Document, b: Document) -> Iterator[Change]:
    for name in _shared(a["accuracy"], b["accuracy"]):
        for data in _shared(a["accuracy"][name], b["accuracy"][name]):
            for kind in ("box", "mask"):
                theirs, ours = (run["accuracy"][name][data][kind]["ap"] or 0.0 for run in (a, b))
                moved = 1.0 if abs(ours - theirs) <= _AP_NOISE or not theirs else ours / theirs
                yield Change(
                    f"{name} {kind} AP on {data}", Ratio(moved, moved, moved), False, "same pictures, no noise"
                )


def _shared(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [name for name in a if name in b]


def _total_ms(run: Document, name: str) -> list[float]:
    return _samples(run["subjects"][name].get("samples_ms", {}), "total")


def _samples(holder: dict[str, Any], key: str) -> list[float]:
    if key not in holder:
        raise DataError("a run's line on the screen has no samples: compare the files that --out wrote")
    found: list[float] = holder[key]
    return found
