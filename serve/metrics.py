"""What the server counts, for Prometheus: frames by outcome, seconds by stage, open streams, its process's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from scene.errors import FrameError, ServerError
from serve.answer import Answer
from serve.exchange import Drop, Failure

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._frames = Counter("streetmask_frames", "Frames by outcome.", ["outcome"], registry=self.registry)
        self._stages = Histogram(
            "streetmask_stage_seconds", "Time by stage.", ["stage"], buckets=_BUCKETS_S, registry=self.registry
        )
        self._streams = Gauge("streetmask_streams", "Open streams.", registry=self.registry)

    def count(self, outcome: Answer | Failure | Drop) -> None:
        """Count what became of one frame."""
        if isinstance(outcome, Answer):
            self._frames.labels("answered").inc()
            for name, spent_ms in asdict(outcome.times).items():
                self._stages.labels(name.removesuffix("_ms")).observe(spent_ms / 1000)
        else:
            self._frames.labels("failed" if isinstance(outcome, Failure) else "dropped").inc()

    @contextmanager
    def count_failure(self) -> Iterator[None]:
        """Count the frame as failed if the block cannot use it."""
        try:
            yield
        except FrameError:
            self._frames.labels("failed").inc()
            raise

    @contextmanager
    def open_stream(self) -> Iterator[None]:
        """Count a stream as open while the block runs."""
        with self._streams.track_inprogress():
            yield

    def listen(self, host: str, port: int) -> None:
        """Answer scrapes at ``http://HOST:PORT/metrics`` on a thread; raises ``ServerError`` if the port is taken."""
        try:
            start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise ServerError(
                f"metrics cannot listen on {host}:{port}: {error.strerror}; choose another port"
            ) from error
