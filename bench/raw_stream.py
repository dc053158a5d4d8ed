"""A stream over a socket, by hand: what no well-behaved library would do to a server.

Frames and header fields after RFC 9113 and RFC 7541, messages after gRPC's own framing. Nothing is compressed, and
nothing that the server says is looked at, but for pings and settings, which are acknowledged.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first words of every HTTP/2 client."""

_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_ACKNOWLEDGED, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4
_HEAD_BYTES = 9
_MOST_DATA = 16_384
_CONNECT_S = 30.0
METHOD = "/streetmask.v1.SegmentationService/SegmentStream"


def message_frame(message: bytes) -> bytes:
    """A message as gRPC frames it: not compressed, its length, its bytes."""
    return struct.pack(">BI", 0, len(message)) + message


class RawStream:
    """One connection with one call of ``SegmentStream``. ``window`` is how many bytes of answers the server may send
    before the client, which never does, must allow more; 65,535 is HTTP/2's own."""

    def __init__(self, address: str, window: int = 65_535) -> None:
        self.socket = connect(address)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
        headers = _header_block(address)
        self._sending = threading.Lock()
        self._write([PREFACE, _frame(_SETTINGS, 0, 0, settings), _frame(_HEADERS, _END_HEADERS, 1, headers)])

    def send(self, message: bytes) -> None:
        """Send one message as a whole."""
        data = message_frame(message)
        self.send_data(data)

    def send_data(self, data: bytes) -> None:
        """Send bytes of the call's body, whatever they are part of."""
        self._write([_frame(_DATA, 0, 1, data[at : at + _MOST_DATA]) for at in range(0, len(data), _MOST_DATA)])

    def acknowledge(self) -> None:
        """On a thread, read what comes and acknowledge pings and settings, so that the connection counts as alive."""
        threading.Thread(target=self._acknowledge, daemon=True).start()

    def vanish(self) -> None:
        """Close at once: the server gets a reset, without a word of HTTP/2."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self.socket.close()

    def _write(self, frames: Iterable[bytes]) -> None:
        with self._sending:
            self.socket.sendall(b"".join(frames))

    def _acknowledge(self) -> None:
        with contextlib.suppress(OSError), self.socket.makefile("rb") as coming:
            while len(head := coming.read(_HEAD_BYTES)) == _HEAD_BYTES:
                kind, flags = head[3], head[4]
                payload = coming.read(int.from_bytes(head[:3], "big"))
                if kind in (_PING, _SETTINGS) and not flags & _ACKNOWLEDGED:
                    self._write([_frame(kind, _ACKNOWLEDGED, 0, payload if kind == _PING else b"")])


def connect(address: str) -> socket.socket:
    """A connection to HOST:PORT on which every byte goes out at once."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), _CONNECT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _header_block(address: str) -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": METHOD,
        ":authority": address,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
