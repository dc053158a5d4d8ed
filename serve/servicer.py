"""The handlers: convert, call, convert. Everything else lives elsewhere."""

import asyncio
import itertools
import time
from functools import partial
from typing import Any

import grpc

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceServicer
from scene.errors import LimitError
from serve import wire
from serve.answer import Answer, Options
from serve.callers import Callers
from serve.clock import SenderClock
from serve.exchange import Frame, Reply
from serve.frame import EncodedFrame
from serve.memory import MemoryLimit
from serve.metrics import Metrics
from serve.models import Models
from serve.pipeline import Admitted
from serve.status import ErrorsAsStatus
from serve.stream import FrameStream
from serve.stream_account import StreamAccount
from serve.tracking import Tracker
from serve.turns import Member

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = pb.DESCRIPTOR.services_by_name["SegmentationService"].full_name


class SegmentationServicer(SegmentationServiceServicer):
    """Answers calls by whichever models are loaded; streams end when ``stopping`` is set."""

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        stopping: asyncio.Event,
        max_streams: int,
        memory: MemoryLimit | None = None,
    ) -> None:
        self.callers = Callers()
        self._memory = memory or MemoryLimit(0)
        self._models = models
        self._metrics = metrics
        self._stopping = stopping
        self._max_streams = max_streams
        self._streams = 0
        self._numbers = itertools.count(1)

    async def Segment(  # noqa: N802 - the contract's name
        self, request: pb.SegmentRequest | wire.Unparsed, context: Context
    ) -> pb.SegmentResponse:
        """One picture."""
        async with ErrorsAsStatus(context, give_up=self.callers.cut):
            with self.callers.answering(context.peer()):
                frame, options = await wire.read_received_request(request)
                with self._metrics.count_failure():
                    admitted = await self._models.admit(options, self.callers.member(context.peer()))
                    answer = await admitted.answer(frame.payload, options)
                self._metrics.count(answer)
                return wire.segment_response(frame, answer)

    async def SegmentStream(  # type: ignore[override]  # noqa: N802 - it writes: a generator's end is not its tasks' end
        self, request_iterator: wire.Messages, context: Context
    ) -> None:
        """A stream of frames."""
        async with ErrorsAsStatus(context, give_up=self.callers.cut):
            if self._streams >= self._max_streams:
                raise LimitError(f"{self._max_streams} streams are open, and no more are taken; try again later")
            self._streams += 1
            try:
                with self._metrics.open_stream(), self.callers.answering(context.peer()):
                    await self._stream(aiter(request_iterator), context)
            finally:
                self._streams -= 1

    async def _stream(self, messages: wire.Messages, context: Context) -> None:
        configuration = await wire.read_configuration(messages)
        options, clock = configuration.options, SenderClock()
        clock.note(configuration.send_time_us, time.perf_counter())
        with self._models.lease(options.model_name, options.model_version):
            pass  # a model that is not there is told now, not with the first frame
        name = str(next(self._numbers))
        account = StreamAccount(name, context.peer())
        tracker = await asyncio.to_thread(Tracker) if configuration.stream.track else None
        member = Member(configuration.stream.priority)
        stream = FrameStream(
            wire.read_frames(messages),
            partial(self._admit, options, member),
            partial(self._send, context, account),
            self._stopping,
            configuration.stream,
            clock,
            None if tracker is None else partial(_tracked, tracker),
            name=name,
            weigh=_weight,
        )
        member.arrived_s = stream.next_arrived_s
        with account.open(options, configuration.stream):
            try:
                # By itself: with the first reply, they and the status behind them are lost once that reply is given up.
                await context.send_initial_metadata(())
                await stream.run()
            except grpc.aio.InternalError as error:  # a write failed before gRPC could tell that the client is gone
                raise asyncio.CancelledError from error
            finally:
                member.arrived_s = None  # a circle would hold the frames that waited

    async def _admit(self, options: Options, member: Member) -> "_Admission":
        return _Admission(await self._models.admit(options, member), options, self._memory)

    async def _send(self, context: Context, account: StreamAccount, reply: Reply[Answer]) -> None:
        account.count(reply.outcome)
        self._metrics.count(reply.outcome)
        await context.write(wire.stream_response(reply))


def add_to_server(servicer: SegmentationServicer, server: grpc.aio.Server) -> None:
    """As the generated function does, but large requests reach the handlers unparsed."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Segment": grpc.unary_unary_rpc_method_handler(
            servicer.Segment,
            request_deserializer=wire.received(pb.SegmentRequest),
            response_serializer=pb.SegmentResponse.SerializeToString,
        ),
        "SegmentStream": grpc.stream_stream_rpc_method_handler(
            servicer.SegmentStream,
            request_deserializer=wire.received(pb.SegmentStreamRequest),
            response_serializer=pb.SegmentStreamResponse.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _weight(frame: EncodedFrame) -> int:
    return len(frame.data)


async def _tracked(tracker: Tracker, frame: Frame[EncodedFrame], answer: Answer) -> Answer:
    """Frames are apart by when they were taken, or else sent."""
    time_us = frame.capture_time_us if frame.capture_time_us > 0 else frame.send_time_us
    return await asyncio.to_thread(tracker.update, answer, time_us / 1e6 if time_us > 0 else None)


class _Admission:
    """A turn, with what its stream wants of every answer."""

    def __init__(self, admitted: Admitted, options: Options, memory: MemoryLimit) -> None:
        self._admitted = admitted
        self._options = options
        self._memory = memory
        self.release = admitted.release

    async def answer(self, frame: EncodedFrame) -> Answer:
        """Raises ``LimitError`` while the memory's limit is exceeded: what waits in open streams is then let go."""
        try:
            self._memory.check()
        except LimitError:
            self.release()
            raise
        return await self._admitted.answer(frame, self._options)
