"""What a stream came to, for the log: opened by whom and with what, closed after how many frames, and why."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from serve.answer import Answer, Options
from serve.exchange import Drop, Failure, StreamOptions

LOG = logging.getLogger(__name__)


class StreamAccount:
    """Counts one stream's outcomes. ``name`` is its number in this process, ``peer`` its client's address."""

    def __init__(self, name: str, peer: str) -> None:
        self._names = {"stream": name, "peer": peer}
        self._counts: Counter[str] = Counter()

    def count(self, outcome: Answer | Failure | Drop) -> None:
        """Count what became of one frame."""
        kind = "failed" if isinstance(outcome, Failure) else "dropped" if isinstance(outcome, Drop) else "answered"
        self._counts[kind] += 1

    @contextmanager
    def open(self, options: Options, stream: StreamOptions) -> Iterator[None]:
        """Write a line when the block begins and one when it ends, whichever way."""
        names = self._names | ({"model": options.model_name} if options.model_name else {})
        LOG.info("a stream opened: %s", _wishes(stream), extra=names)
        began_s, why = time.monotonic(), "its client has sent all"
        try:
            yield
        except asyncio.CancelledError:
            why = "its client went away, or its time was over"
            raise
        except Exception as error:
            why = str(error) or type(error).__name__
            raise
        finally:
            seconds = time.monotonic() - began_s
            LOG.info("a stream closed after %.1f s, %s: %s", seconds, self._totals(), why, extra=names)

    def _totals(self) -> str:
        return ", ".join(f"{self._counts[kind]} {kind}" for kind in ("answered", "dropped", "failed"))


def _wishes(stream: StreamOptions) -> str:
    limit = f", at most {stream.max_age_ms} ms old" if stream.max_age_ms else ""
    priority = f", priority {stream.priority}" if stream.priority else ""
    return f"{stream.policy.value}{limit}{priority}{', tracked' if stream.track else ''}"
