"""What the server writes about itself, on stderr: lines for people or JSON for machines.

A record names its ``worker``, ``stream``, ``frame``, ``model`` and ``peer`` where it has them, and never holds a
frame's bytes, an answer or a token.
"""

import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

FIELDS = ("worker", "stream", "frame", "model", "peer")


class TextFormatter(logging.Formatter):
    """One line a record, with its fields behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without what an exception adds."""
        named = [f"{name}={getattr(record, name)}" for name in FIELDS if hasattr(record, name)]
        return " ".join([super().formatMessage(record), *named])


def json_formatter() -> logging.Formatter:
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message`` and the record's fields."""
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - a client's installation has it not

    names = {"levelname": "level", "name": "logger"}
    return JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp="time")


def configure_logs(form: LogFormat = "text", level: LogLevel = "info", worker: str = "") -> None:
    """Send this process's records to stderr, and nowhere else; each names the ``worker`` where there are several."""
    handler = logging.StreamHandler(sys.stderr)
    if worker:
        handler.addFilter(partial(_named, worker))
    handler.setFormatter(json_formatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _named(worker: str, record: logging.LogRecord) -> bool:
    record.worker = worker
    return True


class Seldom:
    """Lets a kind of message through once in so many seconds, and counts the others: whoever is refused comes again,
    and must not fill the disk."""

    def __init__(self, interval_s: float = 1.0, now_s: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._now_s = now_s
        self._said_s: dict[str, float] = {}
        self._silenced: dict[str, int] = {}

    def __call__(self, kind: str) -> int | None:
        """How many of the kind were held back since the last one; None to hold this one back, too."""
        now_s = self._now_s()
        if now_s - self._said_s.get(kind, float("-inf")) < self._interval_s:
            self._silenced[kind] = self._silenced.get(kind, 0) + 1
            return None
        self._said_s[kind] = now_s
        return self._silenced.pop(kind, 0)
