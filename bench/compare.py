"""``bench compare``: whether something changed between two runs, or only the machine's mood did."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import filterfalse, product
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench.report import Document, read_document
from bench.samples import CONFIDENCE, LEAST, Ratio, ratio, ratio_of_ratios, scaled_ratio
from bench.triton_table import is_on_onnx_runtime, is_ours
from scene.errors import ConfigurationError, DataError

_CLOCK_ONLY = "by the clock alone"
_SAME_LOAD = 0.02


@dataclass(frozen=True)
class CompareArguments:
    """Compare two runs of one kind; ends with status 1 where B is worse than A beyond noise and tolerance."""

    a: Annotated[Path, tyro.conf.Positional]
    """The run before: the file that its --out wrote."""
    b: Annotated[Path, tyro.conf.Positional]
    """The run after."""
    tolerance: float = 0.02
    """Share by which B may be worse, though its interval says that it is: launches of one program differ, too."""
    ap_tolerance: float = 0.1
    """Points of AP or IDF1, of 100, by which B may be worse."""

    def __post_init__(self) -> None:
        for name, value in (("tolerance", self.tolerance), ("ap_tolerance", self.ap_tolerance)):
            if not 0 <= value < 10:
                raise ConfigurationError(name, f"expected 0 or more and less than 10, but {value} came")


@dataclass(frozen=True)
class Change:
    """How one figure changed: ``ratio`` is B over A with its interval, or for AP and IDF1 ``points`` is B less A.

    What is ``judged`` by nothing but the clock depends on the machine's mood, and is shown but never a regression.
    """

    name: str
    how: str
    ratio: Ratio | None = None
    points: float = 0.0
    better_low: bool = True
    judged: bool = True

    def verdict(self, arguments: CompareArguments) -> str:
        """ "worse", "better", "no change", or "not judged"; a ratio counts only with its whole interval."""
        if self.ratio is None:
            allowed = arguments.ap_tolerance
            return "worse" if self.points < -allowed else "better" if self.points > allowed else "no change"
        if not self.judged:
            return "not judged"
        limit = 1 + arguments.tolerance
        slower, faster = self.ratio.low > limit, self.ratio.high < 1 / limit
        worse, better = (slower, faster) if self.better_low else (faster, slower)
        return "worse" if worse else "better" if better else "no change"

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.name}: {self.points:+.2f} points, {self.how}"
        percents = [f"{100 * (value - 1):+.1f}" for value in (self.ratio.ratio, self.ratio.low, self.ratio.high)]
        return f"{self.name}: {percents[0]} % ({percents[1]} to {percents[2]} %), {self.how}"


def compare(arguments: CompareArguments) -> int:
    """Print every figure that both runs have with its verdict; 1 for a regression."""
    a, b = read_document(arguments.a), read_document(arguments.b)
    if a["kind"] != b["kind"]:
        raise DataError(f"{arguments.a} is a run of bench {a['kind']}, {arguments.b} of bench {b['kind']}")
    for sentence in differences(a, b):
        print(f"note: {sentence}")
    figures = len(list(changes(a, b, CONFIDENCE)))
    if not figures:
        raise DataError(f"{arguments.a} and {arguments.b} have no figure in common")
    confidence = 1 - (1 - CONFIDENCE) / figures  # of many figures one is else outside its interval by chance
    found = list(changes(a, b, confidence))
    verdicts = [change.verdict(arguments) for change in found]
    for change, verdict in zip(found, verdicts, strict=True):
        print(f"{verdict:10} {change}")
    print(f"intervals: all {figures} hold at {CONFIDENCE:.0%} together, for what varies within a run")
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


def changes(a: Document, b: Document, confidence: float) -> Iterator[Change]:
    """Every figure that both have."""
    if a["kind"] in ("engine", "export", "train"):
        yield from _engine_changes(a, b, confidence)
        yield from _loader_changes(a, b, confidence)
    elif a["kind"] == "serve":
        yield from _serve_changes(a, b, confidence)
    elif a["kind"] == "track":
        yield from _track_changes(a, b)
    elif a["kind"] == "decode":
        yield from _decode_changes(a, b)
    elif a["kind"] == "triton":
        yield from _triton_changes(a, b, confidence)
    else:
        yield from _accuracy_changes(a, b)


def _engine_changes(a: Document, b: Document, confidence: float) -> Iterator[Change]:
    """Against the run's base where both have the same one: a machine that was slower as a whole then cancels out."""
    for name in _shared(a["subjects"], b["subjects"]):
        bases = [run["subjects"][name].get("base", run["base"]) for run in (a, b)]
        base = bases[0] if bases[0] == bases[1] else ""
        ours, theirs = (_total_ms(run, name) for run in (b, a))
        if min(len(ours), len(theirs)) < LEAST:
            continue
        if base and name != base:
            found = ratio_of_ratios((ours, _total_ms(b, base)), (theirs, _total_ms(a, base)), confidence)
            yield Change(name, f"against {base}", found)
        else:
            yield Change(name, _CLOCK_ONLY, ratio(ours, theirs, confidence), judged=False)


def _loader_changes(a: Document, b: Document, confidence: float) -> Iterator[Change]:
    """Time of all CPUs a picture: others' work on the machine changes it less than the time by the clock."""
    for workers in _shared(a.get("loader", {}), b.get("loader", {})):
        ours, theirs = (_samples(run["loader"][workers], "samples_cpu_ms_a_picture") for run in (b, a))
        yield Change(
            f"loader of {workers} processes", "in CPU time alone", ratio(ours, theirs, confidence), judged=False
        )


def _serve_changes(a: Document, b: Document, confidence: float) -> Iterator[Change]:
    """Ages of equal loads, and throughput; both against the bare loop of their run where both runs have one."""
    bare = [run.get("throughput", {}).get("samples_bare_engine_fps", []) for run in (b, a)]
    scaled = all(len(values) >= LEAST for values in bare)
    for name in _shared(a.get("loads", {}), b.get("loads", {})):
        runs = [run["loads"][name] for run in (b, a)]
        ours, theirs = (_samples(run, "samples_age_ms") for run in runs)
        if not _same_load(*runs) or min(len(ours), len(theirs)) < LEAST:
            continue
        if scaled:
            periods = [[1000 / fps for fps in values] for values in bare]
            found = scaled_ratio((ours, periods[0]), (theirs, periods[1]), confidence)
            yield Change(f"age under {name}", "against the bare engine", found)
        else:
            yield Change(f"age under {name}", _CLOCK_ONLY, ratio(ours, theirs, confidence), judged=False)
        shares = [100 * run["frames"].get("answered", 0) / max(1, run["frames"]["due"]) for run in runs]
        yield Change(f"answered share under {name}", "of the frames that were due", points=shares[0] - shares[1])
    if scaled:
        served = [run["throughput"]["samples_served_fps"] for run in (b, a)]
        found = ratio_of_ratios((served[0], bare[0]), (served[1], bare[1]), confidence)
        yield Change("throughput", "against the bare engine", found, better_low=False)


def _triton_changes(a: Document, b: Document, confidence: float) -> Iterator[Change]:
    """Throughput against Triton's, which nothing of ours changes where it runs the same engine; against another engine
    it is told and not judged."""
    for clients in _shared(a["saturation"], b["saturation"]):
        reports = [run["saturation"][clients] for run in (b, a)]
        names = _shared(reports[0]["fps"], reports[1]["fps"])
        windows = [{name: _samples(report.get("samples_fps", {}), name) for name in names} for report in reports]
        if min((len(values) for samples in windows for values in samples.values()), default=0) < LEAST:
            continue
        for ours, theirs in product(filter(is_ours, names), filterfalse(is_ours, names)):
            pairs = [(samples[ours], samples[theirs]) for samples in windows]
            found = ratio_of_ratios(pairs[0], pairs[1], confidence)
            judged = not is_on_onnx_runtime(theirs)
            how = f"against {theirs}"
            yield Change(f"{ours} with {clients} client(s)", how, found, better_low=False, judged=judged)


def _same_load(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return bool(abs(ours["offered_fps"] / theirs["offered_fps"] - 1) < _SAME_LOAD)


def _accuracy_changes(a: Document, b: Document) -> Iterator[Change]:
    for name in _shared(a["accuracy"], b["accuracy"]):
        for data in _shared(a["accuracy"][name], b["accuracy"][name]):
            ours, theirs = (run["accuracy"][name][data] for run in (b, a))
            yield from _ap_changes(name, data, ours, theirs, _how(ours, theirs))


def _decode_changes(a: Document, b: Document) -> Iterator[Change]:
    for data in _shared(a["decode"], b["decode"]):
        ours, theirs = (run["decode"][data] for run in (b, a))
        for way in _shared(theirs["ways"], ours["ways"]):
            yield from _ap_changes(way, data, ours["ways"][way], theirs["ways"][way], _how(ours, theirs))


def _ap_changes(name: str, data: str, ours: dict[str, Any], theirs: dict[str, Any], how: str) -> Iterator[Change]:
    for kind in ("box", "mask"):
        points = 100 * ((ours[kind]["ap"] or 0.0) - (theirs[kind]["ap"] or 0.0))
        yield Change(f"{name} {kind} AP on {data}", how, points=points)


def _how(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    same = all(ours[key] == theirs[key] for key in ("data_sha256", "images"))
    return "on the same pictures" if same else "ON OTHER PICTURES"


def _track_changes(a: Document, b: Document) -> Iterator[Change]:
    for name in _shared(a["identity"], b["identity"]):
        same = a["identity"][name].keys() == b["identity"][name].keys()
        ours, theirs = (run["identity"][name]["all"]["idf1"] or 0.0 for run in (b, a))
        how = "on the same clips" if same else "ON OTHER CLIPS"
        yield Change(f"IDF1 with dropped frames: {name}", how, points=100 * (ours - theirs))


def _shared(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [name for name in a if name in b]


def _total_ms(run: Document, name: str) -> list[float]:
    return _samples(run["subjects"][name].get("samples_ms", {}), "total")


def _samples(holder: dict[str, Any], key: str) -> list[float]:
    if key not in holder:
        raise DataError("a run's line on the screen has no samples: compare the files that --out wrote")
    found: list[float] = holder[key]
    return found
