"""The handlers: convert, call, convert. Everything else lives elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceServicer
from scene.errors import ServerError
from serve import wire
from serve.answer import Answer
from serve.metrics import Metrics
from serve.pipeline import Pipeline
from serve.status import ErrorsAsStatus
from serve.stream import FrameStream, Reply

Context = grpc.aio.ServicerContext[Any, Any]


class SegmentationServicer(SegmentationServiceServicer):
    """Answers calls as soon as it has a pipeline; streams end when ``stopping`` is set."""

    def __init__(self, metrics: Metrics, stopping: asyncio.Event) -> None:
        self.pipeline: Pipeline | None = None
        self._metrics = metrics
        self._stopping = stopping

    async def Segment(  # noqa: N802 - the contract's name
        self, request: pb.SegmentRequest, context: Context
    ) -> pb.SegmentResponse:
        """One picture."""
        async with ErrorsAsStatus(context):
            frame, options = wire.read_segment_request(request)
            with self._metrics.count_failure():
                answer = await self._loaded().answer(frame.payload, options)
            self._metrics.count(answer)
            return wire.segment_response(frame, answer)

    async def SegmentStream(  # type: ignore[override]  # noqa: N802 - it writes: a generator's end is not its tasks' end
        self, request_iterator: AsyncIterator[pb.SegmentStreamRequest], context: Context
    ) -> None:
        """A stream of frames."""
        async with ErrorsAsStatus(context):
            with self._metrics.open_stream():
                await self._stream(aiter(request_iterator), context)

    async def _stream(self, messages: wire.Messages, context: Context) -> None:
        options = await wire.read_configuration(messages)
        pipeline = self._loaded()
        pipeline.model.require(options)
        answer = partial(pipeline.answer, options=options)
        await FrameStream(wire.read_frames(messages), answer, partial(self._send, context), self._stopping).run()

    async def _send(self, context: Context, reply: Reply[Answer]) -> None:
        self._metrics.count(reply.outcome)
        await context.write(wire.stream_response(reply))

    def _loaded(self) -> Pipeline:
        if self.pipeline is None:
            raise ServerError("the server is still loading its model; try again")
        return self.pipeline
