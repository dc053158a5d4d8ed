"""Models exchanged under load: whether a call fails, whether an answer is another model's, and what it costs callers.

Streams and single callers ask in closed loops, without naming a version, while one version after another is deployed,
some of them again. Every answer is held, instance for instance, against what its version answers when nothing else
happens, and its version against those that can have been current while it was asked for. Windows with swaps and
windows of the same length without them alternate, so that both see the same machine.
"""

import shutil
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.samples import summary
from scene.artifact import read_artifact, write_artifact
from scene.errors import ServerError, StreetMaskError
from serve.admin_client import AdminClient
from serve.answer import Answer, FoundInstance, Options
from serve.client import Client
from serve.deployment import Deployment
from serve.exchange import DropPolicy, StreamOptions
from serve.frame import EncodedFrame
from serve.repository import Repository

_EVERY = StreamOptions(policy=DropPolicy.EVERY)
_IN_FLIGHT = 4
_RELOAD_EVERY = 4
"""Each of so many deployments is one of the version that is current."""
_SURER = 0.2
"""By how much the second version's thresholds are higher."""
_QUIET_S = 0.2
"""The shortest window without swaps."""

Found = tuple[FoundInstance, ...]


@dataclass(frozen=True)
class SwapPlan:
    """So many deployments in so many windows, under so many streams and single callers. ``broken`` is a version that
    cannot be served, and is asked for once a window; 0 for none."""

    count: int
    windows: int = 5
    streams: int = 2
    callers: int = 2
    broken: int = 0


class Ledger:
    """Which version can have been current when, and what became of every frame.

    ``expected`` holds what each version answers to each frame. Deployments are numbered from 0: one that has begun may
    answer, and once it has ended nothing before it may.
    """

    def __init__(self, expected: dict[int, list[Found]], first: int) -> None:
        self._expected = expected
        self._versions = [first]
        self._ended = 0
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.latencies: list[tuple[float, float]] = []

    def begin(self, version: int) -> None:
        """A deployment is asked for."""
        self._versions.append(version)

    def end(self) -> None:
        """It was answered."""
        self._ended = len(self._versions) - 1

    @property
    def floor(self) -> int:
        """The first deployment that a call which begins now may be answered by."""
        return self._ended

    def note(self, floor: int, frame: int, answer: Answer, began_s: float) -> int:
        """Judge an answer; the least deployment that it can be of, which is the next floor of the same caller."""
        ended_s = time.perf_counter()
        possible = [
            number for number in range(floor, len(self._versions)) if self._versions[number] == answer.model_version
        ]
        expected = self._expected.get(answer.model_version)
        right = expected is not None and answer.instances == expected[frame]
        with self._lock:
            self.latencies.append((began_s, (ended_s - began_s) * 1000))
            self.counts["answered"] += 1
            if not possible or not right:
                self.counts["wrong"] += 1
                known = self._versions[floor:]
                self.complaints.append(
                    f"version {answer.model_version} answered where {known} can have"
                    if not possible
                    else f"the answer to frame {frame} is not that of version {answer.model_version}"
                )
        return possible[0] if possible else floor

    def fail(self, complaint: str) -> None:
        """A frame or a call has no answer."""
        with self._lock:
            self.counts["failed"] += 1
            self.complaints.append(complaint)


def swap_under_load(
    address: str,
    repository: Path,
    plan: SwapPlan,
    frames: Sequence[EncodedFrame],
    name: str = "",
    token: str = "",
) -> dict[str, Any]:
    """Deploy the versions of a name in turn while streams and callers ask; what became of both.

    ``name`` may be left out where the repository has one alone, two versions of which can be served at least. Frames
    that are refused or unanswered count as ``failed``, answers of a version that was not current or that are not what
    that version answers as ``wrong``. Latencies are told for windows with swaps and for those without.
    """
    models = Repository(repository)
    name = name or models.names()[0]
    versions = [version for version in models.versions(name) if version != plan.broken]
    with AdminClient(address, token) as admin:
        ledger = Ledger(_expected(address, admin, name, versions, frames), versions[-1])
        with _Load(address, ledger, frames, name, plan):
            windows = _Windows(admin, ledger, name, versions, plan)
            windows.run()
    return windows.report()


def write_versions(model: Path, root: Path) -> Path:
    """A repository with a model's folder as versions 1 and 2, of which the second draws only what it is surer of: the
    network is one, and answers still tell the versions apart. Returns the repository's root."""
    artifact = read_artifact(model)
    for version, surer in ((1, 0.0), (2, _SURER)):
        folder = root / artifact.name / str(version)
        shutil.copytree(model, folder)
        thresholds = [min(0.99, threshold + surer) for threshold in artifact.thresholds]
        write_artifact(replace(artifact, version=version, thresholds=thresholds), folder)
    return root


def _expected(
    address: str, admin: AdminClient, name: str, versions: Sequence[int], frames: Sequence[EncodedFrame]
) -> dict[int, list[Found]]:
    """What each version answers when nobody else asks; the last one stays deployed."""
    found: dict[int, list[Found]] = {}
    with Client(address) as client:
        for version in versions:
            admin.deploy(Deployment(name, version, force=True))
            answers = [client.segment(frame, Options(model_name=name, model_version=version)) for frame in frames]
            found[version] = [answer.instances for answer in answers]
    return found


class _Load:
    """Streams and callers on threads for as long as the block runs."""

    def __init__(self, address: str, ledger: Ledger, frames: Sequence[EncodedFrame], name: str, plan: SwapPlan) -> None:
        self._address, self._ledger, self._frames, self._options = address, ledger, frames, Options(model_name=name)
        self._ended = threading.Event()
        loops = [self._stream] * plan.streams + [self._call] * plan.callers
        self._threads = [threading.Thread(target=self._until_ended, args=(loop,)) for loop in loops]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _until_ended(self, loop: Callable[[Client], None]) -> None:
        while not self._ended.is_set():
            try:
                with Client(self._address) as client:
                    loop(client)
            except StreetMaskError as error:
                self._ledger.fail(str(error))

    def _call(self, client: Client) -> None:
        number = floor = 0
        while not self._ended.is_set():
            floor, frame, began_s = max(floor, self._ledger.floor), number % len(self._frames), time.perf_counter()
            answer = client.segment(self._frames[frame], self._options)
            floor = self._ledger.note(floor, frame, answer, began_s)
            number += 1

    def _stream(self, client: Client) -> None:
        sent: list[tuple[int, float]] = []

        def frames() -> Iterator[EncodedFrame]:
            while not self._ended.is_set():
                sent.append((self._ledger.floor, time.perf_counter()))
                yield self._frames[(len(sent) - 1) % len(self._frames)]

        least = 0
        for received in client.stream(frames(), self._options, _IN_FLIGHT, _EVERY):
            number, outcome = received.reply.frame_id, received.reply.outcome
            floor, began_s = sent[number]
            if isinstance(outcome, Answer):
                least = self._ledger.note(max(floor, least), number % len(self._frames), outcome, began_s)
            else:
                self._ledger.fail(f"frame {number}: {outcome}")


@dataclass
class _Windows:
    """Windows with swaps and windows of the same length without, one after the other."""

    admin: AdminClient
    ledger: Ledger
    name: str
    versions: Sequence[int]
    plan: SwapPlan
    swaps: int = 0
    refused: int = 0
    swap_ms: list[float] = field(default_factory=list)
    edges_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        """All of them."""
        for window in range(self.plan.windows):
            self.edges_s.append(began_s := time.perf_counter())
            share = (self.plan.count * (window + 1)) // self.plan.windows - self.swaps
            for _ in range(share):
                self._swap()
            if self.plan.broken:
                self._refused()
            self.edges_s.append(ended_s := time.perf_counter())
            time.sleep(max(_QUIET_S, ended_s - began_s))
        self.edges_s.append(time.perf_counter())

    def report(self) -> dict[str, Any]:
        """What came of it; percentiles in milliseconds."""
        swapping, quiet = self._latencies()
        return {
            "swaps": self.swaps,
            "refused": self.refused,
            "answered": self.ledger.counts["answered"],
            "failed": self.ledger.counts["failed"],
            "wrong": self.ledger.counts["wrong"],
            "complaints": self.ledger.complaints[:5],
            "swap_ms": summary(self.swap_ms),
            "latency_ms": {"swapping": summary(swapping), "quiet": summary(quiet)},
        }

    def _swap(self) -> None:
        place = self.swaps - self.swaps // _RELOAD_EVERY
        self.swaps += 1
        began_s, version = time.perf_counter(), self.versions[place % len(self.versions)]
        self.ledger.begin(version)
        self.admin.deploy(Deployment(self.name, version, force=True))
        self.ledger.end()
        self.swap_ms.append((time.perf_counter() - began_s) * 1000)

    def _refused(self) -> None:
        """A version that cannot be served must not be deployed, nor answer a single frame."""
        try:
            self.admin.deploy(Deployment(self.name, self.plan.broken, force=True))
        except ServerError:
            self.refused += 1

    def _latencies(self) -> tuple[list[float], list[float]]:
        """Of calls that began in windows with swaps, and in those without."""
        parts: tuple[list[float], list[float]] = ([], [])
        for began_s, latency_ms in self.ledger.latencies:
            place = bisect_left(self.edges_s, began_s) - 1
            if 0 <= place < len(self.edges_s) - 1:
                parts[place % 2].append(latency_ms)
        return parts
