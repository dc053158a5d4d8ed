"""The table from errors to status codes."""

import inspect

import grpc
import pytest

import scene.errors
from scene.errors import (
    ArtifactError,
    ConfigurationError,
    DataError,
    FrameError,
    ServerError,
    StreetMaskError,
    UnknownModelError,
)
from serve.status import error_of, status_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FrameError("too large"), grpc.StatusCode.INVALID_ARGUMENT),
        (ConfigurationError("max_instances", "expected 0"), grpc.StatusCode.INVALID_ARGUMENT),
        (UnknownModelError("model_name", "expected tiny"), grpc.StatusCode.NOT_FOUND),
        (ServerError("stopping"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_errors_that_concern_the_client_keep_their_sentence(error: StreetMaskError, code: grpc.StatusCode) -> None:
    assert status_of(error) == (code, str(error))


@pytest.mark.parametrize("error", [ArtifactError("/secret"), DataError("/secret"), KeyError("/secret")])
def test_whatever_else_stays_on_the_server(error: Exception) -> None:
    code, sentence = status_of(error)
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in sentence


def test_every_error_of_ours_has_a_status() -> None:
    kinds = [kind for _, kind in inspect.getmembers(scene.errors, inspect.isclass) if issubclass(kind, StreetMaskError)]
    assert len(kinds) >= 7
    for kind in kinds:
        error = kind("field", "message") if issubclass(kind, ConfigurationError) else kind("message")
        assert isinstance(status_of(error)[0], grpc.StatusCode)


def test_an_error_without_a_code_is_still_a_sentence() -> None:
    assert str(error_of(grpc.RpcError())) == "the server ended the call (UNKNOWN): no reason given"
