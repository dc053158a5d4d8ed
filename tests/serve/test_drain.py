"""A server that is told to stop: who hears of it first, what is still answered, what is refused."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve.model import Model
from serve.server import SERVICE
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, GatedEngine, RunningServer, running
from tests.serve.test_limits import REQUEST
from tests.serve.test_server import serve_command
from tests.serve.test_servicer import CONFIGURATION, Paced, frame

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
STOPPING = "the server is stopping; connect again"


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is UNAVAILABLE
    return str(caught.value.details())


def test_watchers_hear_first_then_new_calls_are_refused_and_last_the_streams_end(
    gated_server: RunningServer, gated: GatedEngine
) -> None:
    paced = Paced()
    with grpc.insecure_channel(gated_server.address) as channel:
        stub = SegmentationServiceStub(channel)
        watches = [
            iter(HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))) for name in ("", SERVICE)
        ]
        assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.SERVING] * len(watches)
        for request in (CONFIGURATION, frame(0)):
            paced.send(request)
        replies = iter(stub.SegmentStream(iter(paced)))
        gated.wait_entered()
        paced.send(frame(1))
        paced.send(frame(2))
        assert next(replies).dropped.reason == pb.FRAME_DROP_REASON_NEWER_FRAME  # frame 2 has arrived, and waits

        gated_server.begin_stop()
        assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.NOT_SERVING] * len(watches)
        assert refused(lambda: stub.Segment(REQUEST)) == STOPPING
        assert refused(lambda: next(iter(stub.SegmentStream(iter([CONFIGURATION]))))) == STOPPING
        with grpc.insecure_channel(gated_server.address, [("grpc.use_local_subchannel_pool", 1)]) as newcomer:
            assert refused(lambda: SegmentationServiceStub(newcomer).Segment(REQUEST)) == STOPPING

        gated.open(2)
        answered = [next(replies) for _ in range(2)]
        assert [each.frame_id for each in answered] == [0, 2]
        assert all(each.WhichOneof("outcome") == "segmentation" for each in answered)
        assert refused(lambda: next(replies)) == STOPPING
        paced.done()
    gated_server.stop()


def test_what_is_not_done_in_time_is_ended(tiny: Model, gated: GatedEngine) -> None:
    with running(lambda: Model(tiny.artifact, gated), ServerSettings(port=0, drain_s=0.2)) as server:
        with grpc.insecure_channel(server.address) as channel:
            call = SegmentationServiceStub(channel).Segment.future(REQUEST)
            gated.wait_entered()
            server.begin_stop()
            with pytest.raises(grpc.RpcError) as caught:
                call.result(PATIENCE_S)
            assert caught.value.code() in (UNAVAILABLE, grpc.StatusCode.CANCELLED)
        gated.open(1000)
        server.stop()


def test_a_watcher_keeps_no_server_from_stopping(tiny: Model) -> None:
    with (
        running(lambda: tiny, ServerSettings(port=0, drain_s=PATIENCE_S)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        watch = iter(HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.stop()  # fails by the test's patience if it waits for the watcher
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_process_that_is_told_to_stop_ends_its_stream_in_order(model_folder: Path) -> None:
    command = serve_command(str(model_folder), "--port", "0", "--log-format", "json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        paced = Paced()
        with grpc.insecure_channel(address) as channel:
            paced.send(CONFIGURATION)
            paced.send(frame(0))
            replies = iter(SegmentationServiceStub(channel).SegmentStream(iter(paced)))
            assert next(replies).frame_id == 0
            process.send_signal(signal.SIGTERM)
            assert refused(lambda: next(replies)) == STOPPING
            paced.done()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert '"message": "draining' in errors
    assert "Traceback" not in errors


_HANGS = """
import asyncio, sys, threading
from pathlib import Path
from serve.model import Model
from serve.server import serve
from serve.settings import ServerSettings

class Hanging:
    def run(self, *_):
        print("running", flush=True)
        threading.Event().wait()

load = Model.load
Model.load = lambda *arguments: Model(load(*arguments).artifact, Hanging())
Model.warm_up = lambda *_: None
asyncio.run(serve(Path(sys.argv[1]), ServerSettings(port=0, drain_s=0.2), lambda line: print(line, flush=True)))
print("ended", flush=True)
"""


def test_a_process_whose_engine_hangs_ends_when_it_is_told_to(model_folder: Path) -> None:
    command = [sys.executable, "-c", _HANGS, str(model_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        with grpc.insecure_channel(address) as channel:
            call = SegmentationServiceStub(channel).Segment.future(REQUEST)
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGTERM)
            try:
                output, errors = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
            with pytest.raises(grpc.RpcError):
                call.result(PATIENCE_S)
    assert process.returncode == 0
    assert output == "ended\n"
    assert "Traceback" not in errors
