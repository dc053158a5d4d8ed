"""How server and client notice that the other one has vanished: agreed here, for both sides.

Either side sends an HTTP/2 ping when it has heard nothing for ``INTERVAL_S`` and gives the connection up when nothing
comes back for ``PATIENCE_S`` more: a vanished peer is noticed within 15 seconds. A side that is pinged more often than
every ``LEAST_INTERVAL_S`` seconds takes it for an attack and hangs up ("too_many_pings"), so that other clients' pings
may be twice as frequent as ours, with or without an open call.
"""

INTERVAL_S = 10.0
PATIENCE_S = 5.0
LEAST_INTERVAL_S = 5.0

Options = list[tuple[str, int]]
"""gRPC's channel arguments."""


def server_options() -> Options:
    """For ``grpc.aio.server``."""
    return [
        *_pings(INTERVAL_S),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(LEAST_INTERVAL_S)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def client_options(interval_s: float = INTERVAL_S) -> Options:
    """For a channel: it pings while a call is open, and without one stays silent.

    An interval of its own changes the patience with it: half as long.
    """
    return [*_pings(interval_s), ("grpc.keepalive_permit_without_calls", 0)]


def _pings(interval_s: float) -> Options:
    patience_s = interval_s * PATIENCE_S / INTERVAL_S
    return [
        ("grpc.keepalive_time_ms", _ms(interval_s)),
        ("grpc.keepalive_timeout_ms", _ms(patience_s)),
        # A ping for the bandwidth that is never answered holds the keepalive ones back: a minute by default.
        ("grpc.http2.ping_timeout_ms", _ms(interval_s + patience_s)),
        ("grpc.http2.max_pings_without_data", 0),  # no bound: a stream may be idle for hours
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
