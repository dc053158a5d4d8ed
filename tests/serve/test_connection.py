"""A channel's settings."""

import pytest

from scene.errors import ConfigurationError
from serve.connection import channel_options


def test_keepalive_is_more_than_nothing() -> None:
    assert dict(channel_options(2.0))["grpc.keepalive_time_ms"] == 2000
    with pytest.raises(ConfigurationError, match="keepalive_s: expected more than 0, but 0"):
        channel_options(0)
