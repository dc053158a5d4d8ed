"""The model that lies in the repository, from its file to answers over the wire. Missing, it fails these tests."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from scene.artifact import read_artifact
from scene.classes import STREET_CLASSES
from scene.image import RgbImage
from serve.answer import Answer, Options
from serve.client import Client
from serve.exchange import DropPolicy, StreamOptions
from serve.frame import EncodedFrame
from serve.model import Model
from tests.serve.conftest import running
from training.data.synthetic import SceneSettings, StreetScene, scene

FOLDER = Path(__file__).parents[1] / "models" / "street-nano" / "1"
UNSEEN_SEEDS = range(31_000, 31_004)
MOST_BYTES = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(FOLDER, precision="float32", engine="onnxruntime")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    load = partial(Model.load, FOLDER, 2, precision="float32", engine="onnxruntime")  # as the other, not as the faster
    with running(load) as server, Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def scenes() -> list[StreetScene]:
    return [scene(seed, SceneSettings(height=512, width=1024)) for seed in UNSEEN_SEEDS]


def images(scenes: list[StreetScene]) -> list[RgbImage]:
    return [each.image for each in scenes]


def test_the_folder_is_whole_and_small() -> None:
    artifact = read_artifact(FOLDER)
    assert (artifact.name, artifact.version) == ("street-nano", 1)
    assert tuple(artifact.class_names) == STREET_CLASSES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_BYTES
    assert artifact.trusted("int8")
    assert artifact.trusted("bfloat16")


def test_it_finds_what_stands_in_unseen_streets(model: Model, scenes: list[StreetScene]) -> None:
    """Of the objects of 48 x 48 pixels and more, at least half are found, with masks that overlap by half."""
    large = hit = 0
    for each in scenes:
        answer = model.segment(each.image, Options(score_threshold=0.2))
        masks = [found.mask.on_frame(answer.image_size_hw) for found in answer.instances if found.mask]
        for truth in each.instances:
            if truth.mask.sum() >= 48 * 48:
                large += 1
                hit += any(overlap(mask, truth.mask, truth.box_xyxy) >= 0.5 for mask in masks)
    assert large >= 4
    assert hit >= large / 2


def test_the_server_answers_as_the_model_does(model: Model, client: Client, scenes: list[StreetScene]) -> None:
    for image in images(scenes):
        served, local = client.segment(image), model.segment(image)
        assert [each.class_name for each in served.instances] == [each.class_name for each in local.instances]
        for ours, theirs in zip(served.instances, local.instances, strict=True):
            assert np.isclose(ours.score, theirs.score, atol=1e-4)
            assert np.allclose(ours.box_xyxy, theirs.box_xyxy, atol=0.1)


def test_a_stream_of_jpeg_files_is_answered_frame_by_frame(client: Client, scenes: list[StreetScene]) -> None:
    frames = [EncodedFrame.jpeg(image) for image in images(scenes)]
    received = list(client.stream(frames, stream=StreamOptions(DropPolicy.EVERY)))
    assert [each.reply.frame_id for each in received] == list(range(len(frames)))
    for each in received:
        assert isinstance(each.reply.outcome, Answer)
        assert each.reply.outcome.times.network_ms > 0
        assert all(found.mask is not None for found in each.reply.outcome.instances)


def overlap(mask: np.ndarray, truth: np.ndarray, box_xyxy: tuple[int, int, int, int]) -> float:
    """Intersection over union of a frame's mask [H, W] and a mask given within its box."""
    x1, y1, x2, y2 = box_xyxy
    both = np.count_nonzero(mask[y1:y2, x1:x2] & truth)
    return both / (np.count_nonzero(mask) + np.count_nonzero(truth) - both)
