"""What Triton's Python backend runs: the model of an artifact, from a frame's bytes to those of the answer.

It is imported within Triton alone, whose ``model.py`` takes the class from here.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import triton_python_backend_utils as triton

from bench.triton_server import ANSWER, IMAGE
from scene.artifact import Precision
from scene.errors import FrameError
from serve import wire
from serve.answer import Answer, Options, StageClock
from serve.engines import EngineName
from serve.exchange import Frame
from serve.frame import EncodedFrame, Encoding
from serve.model import Model


class TritonPythonModel:
    """One instance, in a process of its own. The names of class and methods are Triton's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the artifact that the configuration's parameters name."""
        logging.basicConfig(level=logging.INFO)
        given = json.loads(args["model_config"])["parameters"]
        asked = {key: value["string_value"] for key, value in given.items()}
        engine = next(name for name in get_args(EngineName) if name == asked["engine"])
        precision = next(name for name in get_args(Precision) if name == asked["precision"])
        self._model = Model.load(Path(asked["folder"]), int(asked["threads"]), precision, engine)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        return [self._response(request) for request in requests]

    def _response(self, request: Any) -> Any:
        data = triton.get_input_tensor_by_name(request, IMAGE).as_numpy().tobytes()
        frame = EncodedFrame(data, Encoding.JPEG)
        try:
            answer = self._answer(frame)
        except FrameError as error:
            return triton.InferenceResponse(error=triton.TritonError(str(error)))
        message = wire.segment_response(Frame(0, 0, frame), answer).SerializeToString()
        tensor = triton.Tensor(ANSWER, np.frombuffer(message, np.uint8)[None])
        return triton.InferenceResponse(output_tensors=[tensor])

    def _answer(self, frame: EncodedFrame) -> Answer:
        """Step by step as ``serve.pipeline`` goes, on one thread."""
        model, options, clock = self._model, Options(), StageClock(time.perf_counter())
        with clock.stage("decode"):
            image, size_hw = frame.decode_for(model.artifact.size_hw)
        batch = model.prepare(image, clock)
        with clock.stage("network"):
            outputs = model.engine.run(batch, model.least_score(options))
        return model.finish(outputs, size_hw, options, clock)
