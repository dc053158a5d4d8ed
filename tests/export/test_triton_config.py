"""The text of ``config.pbtxt``, read back by Triton's own messages.

They share names with ours and cannot live in one process with them: they are read in another.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.triton_config import TritonOptions, config_text
from export.triton_release import find_release
from scene.artifact import Artifact, ModelFile
from scene.errors import ConfigurationError
from tests.export.conftest import Published

NOT_INSTALLED = 3

_READ = f"""
import importlib.util, sys
if importlib.util.find_spec("tritonclient") is None:
    sys.exit({NOT_INSTALLED})
from pathlib import Path
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
text = Path(sys.argv[1]).read_text(encoding="utf-8")
print(json_format.MessageToJson(text_format.Parse(text, ModelConfig()), preserving_proto_field_name=True))
"""


def text_of(artifact: Artifact, options: TritonOptions, entry: ModelFile | None = None) -> str:
    entry = entry or artifact.files[0]
    return config_text(artifact, entry, options, find_release(options.triton_version), "DeformConv")


def parsed(text: str, folder: Path) -> dict[str, Any]:
    """The fields of a configuration, as JSON has them: numbers of 64 bits are strings there."""
    path = folder / "config.pbtxt"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", _READ, path], capture_output=True, text=True, check=False)
    if done.returncode == NOT_INSTALLED:
        pytest.skip("tritonclient, whose messages read the configuration, is not installed")
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config


def test_tritons_messages_read_every_field(published: Published, tmp_path: Path) -> None:
    options = TritonOptions("26.08", device="gpu", instances=2, max_batch_size=16, queue_delay_us=500)
    config = parsed(text_of(published.artifact, options), tmp_path)
    assert (config["name"], config["platform"], config["backend"]) == ("tiny", "onnxruntime_onnx", "onnxruntime")
    assert config["default_model_filename"] == "model.onnx"
    assert config["version_policy"] == {"specific": {"versions": ["1"]}}
    assert config["max_batch_size"] == 16
    assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["64", "128", "3"]}]
    assert config["output"] == [
        {"name": "num", "data_type": "TYPE_INT32", "dims": ["1"], "reshape": {}},
        {"name": "boxes", "data_type": "TYPE_FP32", "dims": ["100", "4"]},
        {"name": "scores", "data_type": "TYPE_FP32", "dims": ["100"]},
        {"name": "mask_scores", "data_type": "TYPE_FP32", "dims": ["100"]},
        {"name": "classes", "data_type": "TYPE_INT32", "dims": ["100"]},
        {"name": "masks", "data_type": "TYPE_UINT8", "dims": ["100", "16", "32"]},
    ]
    assert config["instance_group"] == [{"count": 2, "kind": "KIND_GPU"}]
    assert config["dynamic_batching"] == {"preferred_batch_size": [8, 16], "max_queue_delay_microseconds": "500"}
    image = {"data_type": "TYPE_UINT8", "dims": ["64", "128", "3"], "random_data": True}
    assert [(sample["batch_size"], sample["inputs"]) for sample in config["model_warmup"]] == [
        (size, {"image": image}) for size in (1, 8, 16)
    ]


def test_a_client_finds_what_it_needs_whatever_the_class_names_hold(published: Published, tmp_path: Path) -> None:
    names = ['a "car"', "back\\slash", "two\nlines", "Fußgänger", "自行车", "\x1f", "{", "# no comment"]
    artifact = replace(published.artifact, name='the "tiny" one', class_names=names)
    config = parsed(text_of(artifact, TritonOptions("26.08", score_threshold=0.25)), tmp_path)
    told = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert config["name"] == artifact.name
    assert json.loads(told["class_names"]) == names
    assert json.loads(told["thresholds"]) == artifact.thresholds
    assert json.loads(told["size_hw"]) == [64, 128]
    assert json.loads(told["mask_size_hw"]) == [16, 32]
    assert (told["color_order"], told["score_threshold"], told["lowering"]) == ("RGB", "0.25", "DeformConv")


def test_one_frame_at_a_time_is_a_batch_too(published: Published, tmp_path: Path) -> None:
    config = parsed(text_of(published.artifact, TritonOptions("26.08", max_batch_size=1, device="cpu")), tmp_path)
    assert config["dynamic_batching"]["preferred_batch_size"] == [1]
    assert [sample["batch_size"] for sample in config["model_warmup"]] == [1]
    assert config["instance_group"] == [{"count": 1, "kind": "KIND_CPU"}]


def test_a_plan_is_named_with_what_it_was_built_for(published: Published, tmp_path: Path) -> None:
    plan = ModelFile("model.plan", "tensorrt", "float16", "", {"version": "11.1.0", "gpu": "an L4"}, "GridSample")
    text = text_of(published.artifact, TritonOptions("26.08", backend="tensorrt", precision="float16"), plan)
    assert '# The plan runs where it was built for alone: {"version": "11.1.0", "gpu": "an L4"}.' in text.splitlines()
    config = parsed(text, tmp_path)
    assert (config["platform"], config["backend"]) == ("tensorrt_plan", "tensorrt")
    assert config["default_model_filename"] == "model.plan"


def test_the_text_says_that_no_such_triton_has_loaded_it(published: Published) -> None:
    lines = text_of(published.artifact, TritonOptions("26.08")).splitlines()
    assert lines[0].endswith(" for Triton 26.08 with ONNX Runtime 1.28.0.")
    assert lines[1] == "# Untested: no Triton 26.08 has loaded it."
    assert not lines[2].startswith("#")


def test_the_text_says_that_a_newer_release_was_taken_as_the_newest_known(published: Published) -> None:
    lines = text_of(published.artifact, TritonOptions("40.01")).splitlines()
    assert lines[2] == "# Of Triton 40.01, what it holds is not known here: taken to be what 26.08 holds."


def test_the_threshold_which_triton_cannot_pass_on_is_no_input(published: Published) -> None:
    text = text_of(published.artifact, TritonOptions("26.08"))
    assert text.count('name: "image"') == 1
    assert 'name: "score_threshold"' not in text


def test_preferred_sizes_are_put_in_order(published: Published) -> None:
    assert TritonOptions("26.08", preferred_batch_sizes=(6, 2, 6)).batch_sizes == (2, 6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"instances": 0}, "instances: expected at least one, but 0 came"),
        ({"max_batch_size": 0}, "max_batch_size: expected 1 to 64, which the graph takes, but 0 came"),
        ({"max_batch_size": 65}, "max_batch_size: expected 1 to 64, which the graph takes, but 65 came"),
        (
            {"preferred_batch_sizes": (4, 9)},
            "preferred_batch_sizes: expected sizes from 1 to the largest batch, 8, but (4, 9) came",
        ),
        ({"queue_delay_us": -1}, "queue_delay_us: expected no less than 0, but -1 came"),
        ({"score_threshold": 1.0}, "score_threshold: expected 0 to below 1, but 1.0 came"),
        (
            {"backend": "tensorrt", "device": "cpu"},
            "device: expected gpu, for the backend tensorrt, but 'cpu' came",
        ),
    ],
)
def test_what_triton_would_refuse_is_told(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        TritonOptions("26.08", **options)
    assert str(refused.value) == sentence
