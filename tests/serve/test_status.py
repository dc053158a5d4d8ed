"""The table from errors to status codes."""

import inspect

import grpc
import pytest

import scene.errors
from scene.errors import (
    AccessError,
    ArtifactError,
    ConfigurationError,
    DataError,
    FrameError,
    ServerError,
    StreetMaskError,
    UnknownCallerError,
    UnknownModelError,
)
from serve.status import ADMIN_STATUS_CODES, STATUS_CODES, error_of, status_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FrameError("too large"), grpc.StatusCode.INVALID_ARGUMENT),
        (ConfigurationError("max_instances", "expected 0"), grpc.StatusCode.INVALID_ARGUMENT),
        (UnknownModelError("model_name", "expected tiny"), grpc.StatusCode.NOT_FOUND),
        (ServerError("stopping"), grpc.StatusCode.UNAVAILABLE),
        (AccessError("from elsewhere"), grpc.StatusCode.PERMISSION_DENIED),
        (UnknownCallerError("no token"), grpc.StatusCode.UNAUTHENTICATED),
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


def test_who_deploys_is_told_what_is_wrong_with_a_model_and_nothing_else_more() -> None:
    error = ArtifactError("/models/tiny/1/model.onnx is damaged")
    assert status_of(error, ADMIN_STATUS_CODES) == (grpc.StatusCode.FAILED_PRECONDITION, str(error))
    assert {**ADMIN_STATUS_CODES, **STATUS_CODES} == ADMIN_STATUS_CODES
    assert status_of(DataError("/secret"), ADMIN_STATUS_CODES)[0] is grpc.StatusCode.INTERNAL
