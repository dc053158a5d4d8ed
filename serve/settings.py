"""How a server runs, apart from the model that it serves."""

import os
import sys
from dataclasses import dataclass, field
from typing import Literal

from scene.artifact import Precision
from scene.errors import require
from scene.image import MAX_PIXELS
from serve.engines import EngineName
from serve.logs import LogFormat, LogLevel

MESSAGE_SLACK_BYTES = 1 << 20
_PIXELS_8K = 7680 * 4320

DecodeAhead = Literal["auto", "always", "never"]


def usable_cpus() -> int:
    """How many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def message_bytes(max_pixels: int) -> int:
    """The longest gRPC message: a raw frame of 8K or of four times the pixel limit, and slack for what surrounds it.

    Far over the limit, as a frame that does not arrive ends its whole stream, while one that does gets an error of its
    own. gRPC takes no limit beyond 31 bits.
    """
    return min(3 * max(4 * max_pixels, _PIXELS_8K) + MESSAGE_SLACK_BYTES, (1 << 31) - 1)


@dataclass(frozen=True)
class ServerSettings:
    """A server's address, threads and limits; raises ``ConfigurationError`` for what is out of range."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for every one of this machine."""
    port: int = 50051
    """The port to listen on; 0 for any free one, which is then printed."""
    workers: int = 1
    """Processes that share the port, each with a copy of the models; a connection belongs to one of them."""
    threads: int = 0
    """CPU threads for the network, of each worker; 0 for as many as this process may use, divided among them."""
    engine: EngineName | None = None
    """What runs the network; without it whatever answers fastest here."""
    precision: Precision | None = None
    """What the network computes in; without it the fastest that verification found to keep its limits."""
    lanes: int = 1
    """Frames, or batches, that the network answers at a time; the threads are divided among them."""
    max_batch: int = 1
    """Frames of any streams that the network answers in one run: worth more than 1 on a GPU."""
    batch_delay_ms: float = 0.0
    """How long a frame may wait for others to fill a batch while another lane is busy; an idle engine never waits."""
    decode_threads: int = 2
    """Threads that decode frames ahead of the network."""
    decode_ahead: DecodeAhead = "auto"
    """Whether a frame is decoded while the network is busy with others. Without it a lane decodes its frames and
    finishes their answers by itself: younger answers, and fewer where that leaves something idle. By itself it is, but
    where several lanes share out all CPUs."""
    reduced_decoding: bool = True
    """Decode a JPEG that is far larger than the network's input at a half, quarter or eighth of its size."""
    mask_threads: int = 2
    """Threads that lay masks onto frames and encode them while the network goes on."""
    max_pixels: int = MAX_PIXELS
    """Frames with more pixels are refused; a decoded frame takes three bytes a pixel."""
    max_calls: int = 512
    """Calls at a time, streams included; more are refused with RESOURCE_EXHAUSTED."""
    max_streams: int = 256
    """Streams at a time; more are refused with RESOURCE_EXHAUSTED."""
    max_instances: int = 0
    """Instances in an answer, the best by class score, whatever is asked for; 0 for as many as the model gives."""
    max_memory_mib: int = 0
    """While the process holds more MiB, calls, streams and frames are refused; 0 for no limit."""
    drain_s: float = 10.0
    """Seconds that calls have to finish when the server is told to stop, and frames when their model is exchanged."""
    metrics_port: int = 0
    """Port for Prometheus at http://HOST:PORT/metrics; 0 for none."""
    pin: tuple[str, ...] = ()
    """Versions to load at the start, as NAME=VERSION, instead of a model's newest; of several of one name the last is
    current."""
    watch_s: float = 0.0
    """Seconds between two looks at the models' folder, to deploy new versions by itself; 0 for none."""
    max_artifact_mib: int = 2048
    """A version whose files have more MiB than this together is not loaded."""
    admin_token: str = field(default="", repr=False)
    """Whoever deploys must show it; without one, only callers on this machine may deploy."""
    log_format: LogFormat = "text"
    """Lines for people, or one JSON object a line."""
    log_level: LogLevel = "info"
    """The least that is written to the log."""

    def __post_init__(self) -> None:
        require("host", bool(self.host), "a name or an address", self.host)
        require("port", 0 <= self.port <= 65535, "0 to 65535", self.port)
        require("workers", 1 <= self.workers <= 64, "1 to 64", self.workers)
        require("workers", self.workers == 1 or sys.platform == "linux", "1, but on Linux", self.workers)
        require("threads", 0 <= self.threads <= 1024, "0 to 1024", self.threads)
        require("lanes", 1 <= self.lanes <= 64, "1 to 64", self.lanes)
        require("max_batch", 1 <= self.max_batch <= 256, "1 to 256", self.max_batch)
        require("batch_delay_ms", 0 <= self.batch_delay_ms <= 1000, "0 to 1000", self.batch_delay_ms)
        require("decode_threads", 1 <= self.decode_threads <= 1024, "1 to 1024", self.decode_threads)
        require("mask_threads", 1 <= self.mask_threads <= 1024, "1 to 1024", self.mask_threads)
        require("max_pixels", 256 <= self.max_pixels <= 1 << 28, f"256 to {1 << 28}", self.max_pixels)
        require("max_calls", self.max_calls >= 1, "1 or more", self.max_calls)
        require("max_streams", self.max_streams >= 1, "1 or more", self.max_streams)
        require("max_instances", 0 <= self.max_instances <= 1 << 20, f"0 to {1 << 20}", self.max_instances)
        require("max_memory_mib", self.max_memory_mib >= 0, "0 or more", self.max_memory_mib)
        require("drain_s", 0 <= self.drain_s <= 3600, "0 to 3600", self.drain_s)
        require("metrics_port", 0 <= self.metrics_port <= 65535, "0 to 65535", self.metrics_port)
        require("watch_s", self.watch_s == 0 or 0.1 <= self.watch_s <= 86400, "0, or 0.1 to 86400", self.watch_s)
        require("max_artifact_mib", 1 <= self.max_artifact_mib <= 1 << 20, f"1 to {1 << 20}", self.max_artifact_mib)
        plain = self.admin_token.isascii() and self.admin_token.isprintable() and " " not in self.admin_token
        require("admin_token", plain, "letters, digits and signs of ASCII", "something else")

    @property
    def engine_threads(self) -> int:
        """Threads of one lane, resolved."""
        return max(1, (self.threads or usable_cpus()) // self.lanes)
