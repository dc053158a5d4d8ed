"""Limits, deadlines and cancellation against a real server: refused before the cost is paid, and free afterwards."""

import time
from collections.abc import Iterator

import grpc
import pytest

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from scene.errors import LimitError
from serve.model import Model
from serve.server import Server
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, GatedEngine, RunningServer, running
from tests.serve.test_server import eventually, health_of, open_streams
from tests.serve.test_servicer import CONFIGURATION, Paced, frame
from tests.serve.tiny_model import street

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
REQUEST = pb.SegmentRequest(frame=frame(0).frame)
SEVERAL = pb.Image(
    data=street((0, (0, 0, 32, 64)), (1, (48, 0, 80, 64)), (2, (96, 0, 128, 64))).tobytes(),
    encoding=pb.IMAGE_ENCODING_RAW_RGB,
    width=128,
    height=64,
)


def settings(**values: int) -> ServerSettings:
    return ServerSettings(port=0, threads=1, drain_s=0, **values)  # type: ignore[arg-type]


@pytest.fixture
def gated_stub(gated_server: RunningServer) -> Iterator[SegmentationServiceStub]:
    with grpc.insecure_channel(gated_server.address) as channel:
        yield SegmentationServiceStub(channel)


def test_more_streams_than_allowed_are_refused_and_one_that_ends_makes_room(tiny: Model) -> None:
    with (
        running(lambda: tiny, settings(max_streams=2)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = SegmentationServiceStub(channel)
        open_ones = [Paced(), Paced()]
        replies = [iter(stub.SegmentStream(iter(paced))) for paced in open_ones]
        for paced, each in zip(open_ones, replies, strict=True):
            paced.send(CONFIGURATION)
            paced.send(frame(0))
            assert next(each).frame_id == 0
        for _ in range(5):
            with pytest.raises(grpc.RpcError, match="2 streams are open, and no more are taken") as caught:
                next(iter(stub.SegmentStream(iter([CONFIGURATION]))))
            assert caught.value.code() is EXHAUSTED
        stub.Segment(REQUEST)  # single calls are no streams
        open_ones[0].done()
        assert list(replies[0]) == []
        eventually(lambda: open_streams(server) == 1)
        assert [each.frame_id for each in stub.SegmentStream(iter([CONFIGURATION, frame(7)]))] == [7]
        open_ones[1].done()


def test_calls_that_were_refused_take_no_place(tiny: Model, gated: GatedEngine) -> None:
    with (
        running(lambda: Model(tiny.artifact, gated), settings(max_calls=2)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = SegmentationServiceStub(channel)
        for _ in range(3):
            calls = [stub.Segment.future(REQUEST) for _ in range(2)]
            gated.wait_entered()
            for _ in range(4):
                with pytest.raises(grpc.RpcError) as caught:
                    stub.Segment(REQUEST, timeout=PATIENCE_S)
                assert caught.value.code() is EXHAUSTED
            gated.open(2)
            assert [len(call.result(PATIENCE_S).segmentation.instances) for call in calls] == [1, 1]
            gated.wait_entered()


def test_a_message_over_the_limit_ends_its_call_with_both_sizes(server: RunningServer) -> None:
    huge = pb.SegmentRequest(frame=pb.Frame(image=pb.Image(data=bytes(200 << 20))))
    with grpc.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
        with pytest.raises(grpc.RpcError, match="larger than max") as caught:
            SegmentationServiceStub(channel).Segment(huge)
        assert caught.value.code() is EXHAUSTED
        SegmentationServiceStub(channel).Segment(REQUEST)


@pytest.mark.parametrize(("most", "asked", "found"), [(0, None, 3), (2, None, 2), (2, 3, 2), (2, 1, 1), (2, 0, 0)])
def test_an_answer_holds_at_most_so_many_instances(tiny: Model, most: int, asked: int | None, found: int) -> None:
    options = pb.SegmentOptions() if asked is None else pb.SegmentOptions(max_instances=asked)
    with (
        running(lambda: tiny, settings(max_instances=most)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = SegmentationServiceStub(channel)
        answer = stub.Segment(pb.SegmentRequest(frame=pb.Frame(image=SEVERAL), options=options)).segmentation
        first = pb.SegmentStreamRequest(configuration=pb.StreamConfiguration(options=options))
        (reply,) = stub.SegmentStream(iter([first, pb.SegmentStreamRequest(frame=pb.Frame(image=SEVERAL))]))
    assert len(answer.instances) == len(reply.segmentation.instances) == found


def test_over_its_memory_the_server_refuses_and_goes_on(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    full = False

    def check(self: object) -> None:
        if full:
            raise LimitError("the server holds 101 MiB and may hold 100; send less, or try again later")

    monkeypatch.setattr("serve.memory.MemoryLimit.check", check)
    with (
        running(lambda: tiny, settings(max_memory_mib=100)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = SegmentationServiceStub(channel)
        paced = Paced()
        paced.send(CONFIGURATION)
        replies = iter(stub.SegmentStream(iter(paced)))
        for number in (0, 1, 2):
            full = number == 1
            paced.send(frame(number))
            reply = next(replies)
            assert reply.frame_id == number
            assert reply.WhichOneof("outcome") == ("error" if full else "segmentation")
            if full:
                assert reply.error.code == pb.FRAME_ERROR_CODE_INTERNAL
                assert "101 MiB" in reply.error.message
                for refused in (
                    lambda: stub.Segment(REQUEST),
                    lambda: next(iter(stub.SegmentStream(iter([CONFIGURATION])))),
                ):
                    with pytest.raises(grpc.RpcError, match="may hold 100") as caught:
                        refused()
                    assert caught.value.code() is EXHAUSTED
                assert health_of(server.address) == 1
        paced.done()
        assert list(replies) == []
        stub.Segment(REQUEST)


async def test_a_limit_on_memory_is_kept_by_the_real_figure(tiny: Model) -> None:
    server = Server(settings(max_memory_mib=1))
    with pytest.raises(LimitError, match="and may hold 1;"):
        server._check_open()
    Server(settings(max_memory_mib=1 << 30))._check_open()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_call_whose_time_is_over_or_that_is_cancelled_is_never_run(
    gated_stub: SegmentationServiceStub, gated: GatedEngine, gated_server: RunningServer, cancelled: bool
) -> None:
    first = gated_stub.Segment.future(REQUEST)
    gated.wait_entered()
    # More of them than may be decoded ahead: some wait for a turn, some for the engine.
    waiting = [gated_stub.Segment.future(REQUEST, timeout=None if cancelled else 0.5) for _ in range(6)]
    if cancelled:
        time.sleep(0.5)
        for call in waiting:
            call.cancel()  # type: ignore[no-untyped-call]
    codes = set()
    for call in waiting:
        with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
            call.result(PATIENCE_S)
        codes.add(call.code())
    assert codes == {grpc.StatusCode.CANCELLED if cancelled else grpc.StatusCode.DEADLINE_EXCEEDED}
    eventually(lambda: gated_server.server._servicer.callers._calls.total() == 1)  # the server has heard of it
    gated.open(1000)
    assert len(first.result(PATIENCE_S).segmentation.instances) == 1
    assert len(gated_stub.Segment(REQUEST).segmentation.instances) == 1
    assert gated.runs == 2


def test_a_streams_deadline_ends_it_and_frees_it(
    gated_stub: SegmentationServiceStub, gated: GatedEngine, gated_server: RunningServer
) -> None:
    paced = Paced()
    for request in (CONFIGURATION, frame(0), frame(1)):
        paced.send(request)
    replies = gated_stub.SegmentStream(iter(paced), timeout=3.0)
    gated.wait_entered()
    assert open_streams(gated_server) == 1
    with pytest.raises(grpc.RpcError) as caught:
        next(iter(replies))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: open_streams(gated_server) == 0)
    paced.done()
    gated.open(1000)
    gated_stub.Segment(REQUEST)
    assert gated.runs == 2  # frame 1 was never run
