"""The process that asks Triton, and the model that it runs, each against a stand-in for Triton's own module."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.triton_server import ANSWER, IMAGE
from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import ServerError
from serve import wire
from serve.answer import Answer
from serve.exchange import Drop, Failure
from serve.frame import EncodedFrame, Encoding
from serve.model import Model
from tests.bench.triton_fakes import InferenceServerError, Tensor, backend_module, client_module
from tests.serve.tiny_model import street, write_tiny_model

REJECTED, EXPIRED, BROKEN = b"rejected", b"expired", b"broken"
WORDS = {REJECTED: "Exceeds maximum queue size", EXPIRED: "Request timeout expired", BROKEN: "the model failed"}


def reply(data: bytes) -> bytes:
    """A stand-in's answer: the model's version is the frame's length."""
    if data in WORDS:
        raise InferenceServerError(f"[StatusCode.UNAVAILABLE] {WORDS[data]}")
    found = pb.Segmentation(model_name="m", model_version=len(data), image_width=2, image_height=1)
    return pb.SegmentResponse(segmentation=found).SerializeToString()


def client_of(monkeypatch: pytest.MonkeyPatch, answer: Callable[[bytes], bytes], busy: list[int]) -> Any:
    """``bench.triton_client`` on the stand-in."""
    grpc = client_module(answer, busy)
    package = ModuleType("tritonclient")
    package.grpc = grpc  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tritonclient", package)
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", grpc)
    monkeypatch.delitem(sys.modules, "bench.triton_client", raising=False)
    return importlib.import_module("bench.triton_client")


def frames(*data: bytes) -> list[EncodedFrame]:
    return [EncodedFrame(each, Encoding.JPEG) for each in data]


def test_no_frames_are_no_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(monkeypatch, reply, []).TritonClient("nowhere", "m")
    assert list(client.stream([])) == []


def test_each_frame_gets_its_own_answer_rejection_or_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(monkeypatch, reply, []).TritonClient("nowhere", "m")
    received = list(client.stream(frames(b"a", REJECTED, b"ccc", EXPIRED, BROKEN), in_flight=5))
    outcomes = {each.reply.frame_id: each.reply.outcome for each in received}
    assert {number: each.model_version for number, each in outcomes.items() if isinstance(each, Answer)} == {0: 1, 2: 3}
    assert (outcomes[1], outcomes[3]) == (Drop.QUEUE_FULL, Drop.EXPIRED)
    assert isinstance(outcomes[4], Failure) and "the model failed" in outcomes[4].message
    assert all(each.latency_ms > 0 for each in received)


def test_no_more_frames_are_out_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: list[int] = []
    client = client_of(monkeypatch, reply, busy).TritonClient("nowhere", "m")
    assert len(list(client.stream(frames(*[b"x"] * 40), in_flight=2))) == 40
    assert max(busy) <= 2


def test_frames_that_raise_end_the_stream_with_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(monkeypatch, reply, []).TritonClient("nowhere", "m")

    def cut() -> Any:
        yield frames(b"a")[0]
        raise OSError("the camera is gone")

    with pytest.raises(ServerError, match="the camera is gone"):
        list(client.stream(cut()))


def test_a_question_that_fails_is_answered_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "0.jpg").write_bytes(BROKEN)
    module = client_of(monkeypatch, reply, [])
    questions = [["answers", {"model": "m"}], ["load", {"model": "m", "rates": [20.0], "seconds": 0.2}]]
    monkeypatch.setattr(sys, "stdin", [json.dumps(question) for question in questions])
    out, err = sys.stdout, sys.stderr
    try:
        assert module.main(["nowhere", str(tmp_path)]) == 0
    finally:
        sys.stdout, sys.stderr = out, err
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers == [{"error": "[StatusCode.UNAVAILABLE] the model failed"}] * 2


def test_a_load_reports_rejections_as_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    module = client_of(monkeypatch, reply, [])
    report = module._Asked("nowhere", frames(b"abc", REJECTED)).load("m", [20.0], 0.2)
    assert report["frames"] == {"answered": 2, "dropped": 2, "due": 4}
    assert report["ending"] == "whole"


def test_the_model_answers_as_ours_does_and_refuses_what_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend_module())
    monkeypatch.delitem(sys.modules, "bench.triton_model", raising=False)
    folder = write_tiny_model(tmp_path / "tiny" / "3")
    given = {"folder": str(folder), "threads": "1", "engine": "onnxruntime", "precision": "float32"}
    config = {"parameters": {key: {"string_value": value} for key, value in given.items()}}
    model = importlib.import_module("bench.triton_model").TritonPythonModel()
    model.initialize({"model_config": json.dumps(config)})
    picture = street((0, (32, 16, 64, 48)))
    sent = [EncodedFrame.jpeg(picture).data, b"no picture"]
    ((good, no_error), (nothing, error)) = model.execute(
        [[Tensor(IMAGE, np.frombuffer(data, np.uint8)[None])] for data in sent]
    )
    assert no_error is None and nothing == [] and "no picture" not in error and "JPEG" in error
    assert good[0].name == ANSWER and good[0].as_numpy().shape[0] == 1
    theirs = wire.read_segment_response(pb.SegmentResponse.FromString(good[0].as_numpy().tobytes()))
    ours = Model.load(folder, 1, "float32", "onnxruntime").segment(EncodedFrame(sent[0]).decode())
    assert theirs.instances == ours.instances and theirs.instances
