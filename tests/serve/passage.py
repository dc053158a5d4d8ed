"""A way to a server that counts pings and can turn into a hole."""

import socket
import threading
from contextlib import suppress

PINGS = 4
"""The first is none too soon, and the third that is would be too many."""

PING, PING_ACKNOWLEDGED = b"\0\0\x08\x06\0\0\0\0\0", b"\0\0\x08\x06\x01\0\0\0\0"


class Passage:
    """A way to a server which a test can turn into a hole that swallows everything."""

    def __init__(self, address: str) -> None:
        self._address = address.rsplit(":", 1)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._swallow = threading.Event()
        self.pings = 0  # the client's
        self.answered_pings = 0  # the server's
        self.address = f"127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._open, daemon=True).start()

    def swallow(self) -> None:
        self._swallow.set()

    def close(self) -> None:
        self._door.close()

    def _open(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection((self._address[0], int(self._address[1])))
                threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.pings += count and data.count(PING)
                self.answered_pings += count and data.count(PING_ACKNOWLEDGED)
                if not self._swallow.is_set():
                    target.sendall(data)
