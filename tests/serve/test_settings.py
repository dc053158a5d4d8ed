"""How a server runs."""

from typing import Any

import pytest

from scene.errors import ConfigurationError
from scene.image import MAX_PIXELS
from serve.settings import ServerSettings, message_bytes, usable_cpus


def test_the_defaults_stand() -> None:
    settings = ServerSettings()
    assert settings.host == "127.0.0.1"
    assert settings.engine_threads == usable_cpus() >= 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", ""),
        ("port", -1),
        ("port", 65536),
        ("workers", 0),
        ("threads", -1),
        ("lanes", 0),
        ("max_batch", 0),
        ("batch_delay_ms", -1),
        ("decode_threads", 0),
        ("mask_threads", 0),
        ("max_streams", 0),
        ("max_pixels", 255),
        ("max_calls", 0),
        ("drain_s", -1.0),
        ("drain_s", float("nan")),
        ("metrics_port", 70000),
        ("watch_s", -1.0),
        ("watch_s", 0.01),
        ("watch_s", float("nan")),
        ("max_artifact_mib", 0),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(field: str, value: object) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(ConfigurationError, match=f"^{field}: expected .*, but {value!r} came$") as caught:
        ServerSettings(**wrong)
    assert caught.value.field == field


@pytest.mark.parametrize("max_pixels", [256, MAX_PIXELS, 1 << 28])
def test_a_message_has_room_for_a_raw_8k_frame_and_for_one_at_the_limit(max_pixels: int) -> None:
    assert 3 * 7680 * 4320 < message_bytes(max_pixels) < 1 << 31
    assert message_bytes(max_pixels) > 3 * max_pixels


def test_a_message_has_room_for_four_times_the_limit() -> None:
    assert message_bytes(MAX_PIXELS) > 3 * 4 * MAX_PIXELS


@pytest.mark.parametrize("token", ["with blank", "new\nline", "schlüssel"])
def test_a_token_is_never_shown(token: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^admin_token: expected letters, digits and signs of ASCII"
    ) as caught:
        ServerSettings(admin_token=token)
    assert token not in str(caught.value)
    assert "secret" not in repr(ServerSettings(admin_token="secret"))
