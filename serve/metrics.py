"""What the server counts, for Prometheus: frames by outcome, seconds by stage, open streams, its process's memory.

Workers count in files of one folder (prometheus_client's multiprocess mode), where their supervisor adds them up: what
one has counted outlives it.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from scene.errors import FrameError, ServerError, StreetMaskError
from serve.answer import Answer
from serve.exchange import Drop, Failure

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._frames = Counter("streetmask_frames", "Frames by outcome.", ["outcome"], registry=self.registry)
        self._answers = Counter(
            "streetmask_answers", "Answered frames by model.", ["model", "version"], registry=self.registry
        )
        self._stages = Histogram(
            "streetmask_stage_seconds", "Time by stage.", ["stage"], buckets=_BUCKETS_S, registry=self.registry
        )
        self._streams = Gauge(
            "streetmask_streams", "Open streams.", registry=self.registry, multiprocess_mode="livesum"
        )
        self._own_streams = Gauge(
            "streetmask_worker_streams",
            "Open streams of each worker.",
            registry=self.registry,
            multiprocess_mode="liveall",
        )

    def count(self, outcome: Answer | Failure | Drop) -> None:
        """Count what became of one frame."""
        if isinstance(outcome, Answer):
            self._frames.labels("answered").inc()
            self._answers.labels(outcome.model_name, outcome.model_version).inc()
            for name, spent_ms in asdict(outcome.times).items():
                self._stages.labels(name.removesuffix("_ms")).observe(spent_ms / 1000)
        else:
            self._frames.labels("failed" if isinstance(outcome, Failure) else "dropped").inc()

    @contextmanager
    def count_failure(self) -> Iterator[None]:
        """Count the frame as failed if the block cannot use it, or fails on it; a call that is refused is no frame."""
        try:
            yield
        except Exception as error:
            if isinstance(error, FrameError) or not isinstance(error, StreetMaskError):
                self._frames.labels("failed").inc()
            raise

    @contextmanager
    def open_stream(self) -> Iterator[None]:
        """Count a stream as open while the block runs."""
        with self._streams.track_inprogress(), self._own_streams.track_inprogress():
            yield

    def listen(self, host: str, port: int) -> None:
        """Answer scrapes at ``http://HOST:PORT/metrics`` on a thread; raises ``ServerError`` if the port is taken."""
        _listen(self.registry, host, port)


class CrewMetrics:
    """What the workers that count in a folder have counted together, and what their processes use.

    ``pids`` are the workers' processes just now.
    """

    def __init__(self, folder: Path, pids: Callable[[], Iterable[int]]) -> None:
        self._folder = folder
        self.registry = CollectorRegistry()
        MultiProcessCollector(self.registry, str(folder))  # type: ignore[no-untyped-call]
        self.registry.register(_Processes(lambda: [os.getpid(), *pids()]))
        workers = Gauge("streetmask_workers", "Worker processes.", registry=self.registry)
        workers.set_function(lambda: len(list(pids())))
        self._lost = Counter("streetmask_workers_lost", "Workers that ended and were replaced.", registry=self.registry)

    def lost(self, pid: int) -> None:
        """A worker has ended: what it counted stays, what it had open is none any more."""
        mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
        self._lost.inc()

    def listen(self, host: str, port: int) -> None:
        """As ``Metrics.listen``."""
        _listen(self.registry, host, port)


class _Processes(Collector):
    """The processes' memory, processor time and open files, added up; memory that they share counts for each."""

    _ADDED = (
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_cpu_seconds",
        "process_open_fds",
    )

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        """One sample of each metric, of those processes that are still there."""
        sums: dict[str, Metric] = {}
        for pid in self._pids():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                if metric.name in sums:
                    (sample,), (more,) = sums[metric.name].samples, metric.samples
                    sums[metric.name].samples = [sample._replace(value=sample.value + more.value)]
                elif metric.name in self._ADDED:
                    sums[metric.name] = metric
        yield from sums.values()


def _listen(registry: CollectorRegistry, host: str, port: int) -> None:
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ServerError(f"metrics cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
