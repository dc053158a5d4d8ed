"""``bench serve --fault``: what a server does with hostile input, misbehaving clients, dying workers and new models.

Each fault says what was done and what came of it, in words and in figures. Those that are played by misbehaving clients
say what their neighbours noticed; the others how many frames or messages got which outcome.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from bench.failing_engine import fail_batches
from bench.fault_names import FaultName
from bench.faulty_clients import FAULTS, others_p99
from bench.hostile import bombs, malformed_frames
from bench.hostile_messages import mutated_messages
from bench.loop_holds import LIMIT_MS, measure_holds, scenarios
from bench.server_memory import Growth, resident_of
from bench.swaps import SwapPlan, swap_under_load, write_versions
from bench.throttled import throttled_report
from bench.worker_kill import KillPlan, kill_worker_under_load
from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.artifact import read_artifact
from scene.errors import ServerError
from serve import wire
from serve.answer import Answer, Options
from serve.client import Client
from serve.exchange import DropPolicy, Failure, StreamOptions
from serve.frame import EncodedFrame
from serve.servicer import SERVICE
from streetmask.server_process import server_process

_SEED = 1
_IN_FLIGHT = 16
_CALL_S = 30.0
_NEIGHBOUR_FPS = 25.0
_EVERY = StreamOptions(policy=DropPolicy.EVERY)


@dataclass(frozen=True)
class FaultBench:
    """A model to serve, sound frames, and how much of each fault: 1 for all of it, less for a trial."""

    model: Path
    frames: list[EncodedFrame]
    share: float = 1.0

    def run(self, name: FaultName) -> dict[str, Any]:
        """Play one fault: ``did`` and ``came`` in words, and the figures."""
        return _PLAYS[name](self)

    def count(self, full: int) -> int:
        """So many of a full number."""
        return max(1, round(full * self.share))


def _malformed(bench: FaultBench) -> dict[str, Any]:
    count = bench.count(10_000)
    frames = [frame for _, frame in malformed_frames(_SEED, count)]
    return _outcomes_of(bench, frames) | {"did": f"{count} malformed frames, seeded, in one stream"}


def _bombs(bench: FaultBench) -> dict[str, Any]:
    frames = [frame for _, frame in bombs()]
    found = _outcomes_of(bench, frames)
    return found | {"did": f"{len(frames)} small files that claim much, a PNG of 30,000 x 30,000 among them"}


def _outcomes_of(bench: FaultBench, frames: Sequence[EncodedFrame]) -> dict[str, Any]:
    """Every frame through one stream; the server must answer each, and a sound one afterwards."""
    with server_process(bench.model) as server, Client(server.address) as client:
        for frame in bench.frames * 4:
            client.segment(frame)
        grown, outcomes = Growth(lambda: resident_of(server.pid), len(frames)), Counter[str]()
        began_s = time.perf_counter()
        for each in client.stream(frames, None, _IN_FLIGHT, _EVERY, reconnect=False):
            outcomes[_kind(each.reply.outcome)] += 1
            grown.done()
        seconds = time.perf_counter() - began_s
        client.segment(bench.frames[0])
    told = sum(outcomes.values())
    came = f"{outcomes['error']} errors and {outcomes['answered']} answers by id, {len(frames) - told} untold, in "
    came += f"{seconds:.0f} s; {grown.words()}; a sound frame was answered next"
    return {"came": came, "outcomes": dict(outcomes), "sent": len(frames), "grown_bytes": grown.halves()}


def _messages(bench: FaultBench) -> dict[str, Any]:
    count = bench.count(10_000)
    with server_process(bench.model) as server, grpc.insecure_channel(server.address) as channel:
        single: Any = channel.unary_unary(f"/{SERVICE}/Segment", None, None)
        stream: Any = channel.stream_stream(f"/{SERVICE}/SegmentStream", None, None)
        first = wire.configuration_request(wire.Configuration(Options(), StreamOptions(), 0)).SerializeToString()
        outcomes: Counter[str] = Counter()
        grown = Growth(lambda: resident_of(server.pid), count)
        for hostile in mutated_messages(_SEED, count):
            if hostile.message == pb.SegmentRequest.DESCRIPTOR.name:
                call: Callable[[], Any] = partial(single, hostile.data, timeout=_CALL_S)
            else:
                call = partial(_exhaust, stream, [first, hostile.data])
            outcomes[_status(call)] += 1
            grown.done()
        with Client(server.address) as client:
            client.segment(bench.frames[0])
    told = ", ".join(f"{number} {status}" for status, number in outcomes.most_common())
    came = f"{told}; {grown.words()}; a sound frame was answered next"
    did = f"{count} mutated protobuf messages, seeded, each in a call of its own"
    return {"did": did, "came": came, "outcomes": dict(outcomes), "sent": count, "grown_bytes": grown.halves()}


def _exhaust(stream: Any, messages: list[bytes]) -> list[bytes]:
    return list(stream(iter(messages), timeout=_CALL_S))


def _status(call: Callable[[], Any]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name) if isinstance(error, grpc.Call) else "UNKNOWN"
    return "OK"


def _neighbours(fault: str, did: str, window_s: float, bench: FaultBench) -> dict[str, Any]:
    with server_process(bench.model) as server:
        windows = max(2, bench.count(round(24 / window_s)))
        found = others_p99(server.address, FAULTS[fault], bench.frames[0], (_NEIGHBOUR_FPS,), windows, window_s)
    quiet, faulty = found["quiet_ms"], found["fault_ms"]
    came = f"a neighbour's answers: p99 {quiet['p99']:.1f} ms without, {faulty['p99']:.1f} with; "
    came += f"{_lost_words(found['frames'])}; {_client_words(found)}{_error_words(found['errors'])}"
    return found | {"did": did, "came": came, "p99_ratio": found["p99_ratio"]}


def _throttled(bench: FaultBench) -> dict[str, Any]:
    with server_process(bench.model) as server:
        found = throttled_report(server.address, bench.frames, turns=max(2, bench.count(8)))
    one, eight = (found["in_flight"][key]["age_ms"] for key in ("1", "8"))
    came = f"age with 1 frame on the way: median {one['median']:.0f} ms, p95 {one['p95']:.0f}; "
    came += f"with 8: {eight['median']:.0f} and {eight['p95']:.0f}"
    return found | {"did": "a link that carries half of what a camera of 30 frames a second sends", "came": came}


def _engine(bench: FaultBench) -> dict[str, Any]:
    found = fail_batches(bench.model, bench.frames, bench.count(1000))
    came = f"of {found['frames']} frames {found['engine_failed']} were in runs that failed, and {found['failed']} got "
    came += f"an error; {found['answered']} were answered, {found['wrong']} told otherwise"
    return found | {"did": "an engine that fails in every fifth of its runs, in the middle of a batch", "came": came}


def _kill(bench: FaultBench) -> dict[str, Any]:
    plan = KillPlan(streams=6, rate=4.0, seconds=max(8.0, 60 * bench.share))
    found = kill_worker_under_load(bench.model, bench.frames, plan)
    frames, next_s, replaced_s = found["frames"], found["next_answer_s"], found["replaced_s"]
    came = f"{found['killed']} killed, {found['replaced']} replaced within {replaced_s.get('max', 0):.1f} s; a "
    came += f"stream's next answer came {next_s.get('median', 0):.2f} s after a kill, {next_s.get('max', 0):.2f} at "
    came += f"most; of {frames['due']} frames {frames['answered']} answered, {frames['dropped']} dropped, "
    came += f"{frames['lost']} lost with the connection, {frames['failed']} failed{_error_words(found['errors'])}"
    did = f"kill -9 of one of {plan.workers} workers every {plan.kill_every_s:g} s under {plan.streams} streams"
    return found | {"did": did, "came": came}


def _swaps(bench: FaultBench) -> dict[str, Any]:
    count = bench.count(1000)
    with tempfile.TemporaryDirectory() as folder:
        root = write_versions(bench.model, Path(folder))
        name = read_artifact(bench.model).name
        with server_process(root / name / "1", ["--engine", "onnxruntime"]) as server:
            found = swap_under_load(server.address, root, SwapPlan(count), bench.frames, name)
    quiet, swapping = (found["latency_ms"][kind] for kind in ("quiet", "swapping"))
    came = f"{found['answered']} answers, {found['failed']} failed, {found['wrong']} wrong; callers' p50 and p99 "
    came += f"{quiet['median']:.0f} and {quiet['p99']:.0f} ms, {swapping['median']:.0f} and {swapping['p99']:.0f} "
    came += "while models load beside them"
    return found | {"did": f"{found['swaps']} swaps under two streams and two callers at full speed", "came": came}


def _holds(bench: FaultBench) -> dict[str, Any]:
    found = measure_holds(bench.model, scenarios(bench.frames[0].decode()), seconds=max(1.0, 5 * bench.share))
    own = max(found, key=lambda name: float(found[name]["own_ms"]["max"]))
    worst = max(found, key=lambda name: float(found[name]["cpu_ms"]["max"]))
    over, own_over, total = (
        sum(each[name] for each in found.values()) for name in ("over_limit", "own_over_limit", "callbacks")
    )
    came = f"our own work held the loop for more than {LIMIT_MS:g} ms of CPU time in {own_over} of {total} callbacks, "
    came += f"{found[own]['own_ms']['max']:.1f} ms at most, with {own} ({found[own]['own_worst']}); "
    came += f"with gRPC's copying of messages {over} did, the longest "
    came += f"{found[worst]['cpu_ms']['max']:.1f} ms, with {worst}"
    return {"did": f"the event loop under {len(found)} loads, 100 instances and raw 4K frames too", "came": came} | {
        "loads": found
    }


def _lost_words(frames: Mapping[str, Mapping[str, int]]) -> str:
    """How many of a neighbour's frames were dropped without and with the fault, and lost otherwise if any were."""
    quiet, faulty = frames["quiet"], frames["fault"]
    kinds = ["dropped", *sorted((quiet.keys() | faulty.keys()) - {"answered", "dropped"})]
    return ", ".join(f"{quiet.get(kind, 0)} and {faulty.get(kind, 0)} of its frames {kind}" for kind in kinds)


def _client_words(found: Mapping[str, Any]) -> str:
    """How many clients of a fault were there in all its turns."""
    clients = found["clients"]
    words = f"{clients.get('came', 0)} such clients came in {found['turns']} turns"
    return f"{words}, {clients['refused']} were refused" if clients.get("refused") else words


def _error_words(errors: Sequence[str]) -> str:
    """How many streams ended by an error, and the first one; nothing without any."""
    return f"; streams that ended early: {len(errors)}, the first as {errors[0]}" if errors else ""


def _kind(outcome: object) -> str:
    if isinstance(outcome, Answer):
        return "answered"
    return "error" if isinstance(outcome, Failure) else "dropped"


_PLAYS: dict[FaultName, Callable[[FaultBench], dict[str, Any]]] = {
    "malformed": _malformed,
    "messages": _messages,
    "bombs": _bombs,
    "stalled-readers": partial(_neighbours, "stalled-readers", "4 clients that read nothing", 3.0),
    "slow-senders": partial(_neighbours, "slow-senders", "32 clients that send a byte a second", 3.0),
    "vanishing": partial(_neighbours, "vanishing", "500 clients that connect, send a frame and vanish, in 10 s", 10.0),
    "idle-streams": partial(_neighbours, "idle-streams", "200 streams that are silent", 3.0),
    "throttled": _throttled,
    "engine": _engine,
    "kill": _kill,
    "swaps": _swaps,
    "holds": _holds,
}


def play(bench: FaultBench, names: Sequence[FaultName]) -> Iterator[tuple[FaultName, dict[str, Any]]]:
    """Each fault in turn; one that cannot be played says why in ``error``."""
    for name in dict.fromkeys(names):
        try:
            yield name, bench.run(name)
        except ServerError as error:
            yield name, {"did": name, "came": f"not measured: {error}", "error": str(error)}
