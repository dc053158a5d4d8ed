"""Clips and answers for the command line and what it draws."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.image import RgbImage
from scene.instances import Instance
from serve.answer import Answer, FoundInstance, MaskRegion, StageTimes
from serve.model import Model
from streetmask.video import VideoWriter
from tests.serve.conftest import RunningServer, running
from tests.serve.tiny_model import street, write_tiny_model

FRAMES = 12


def found(class_index: int, xyxy: tuple[int, int, int, int], score: float = 0.9, masked: bool = True) -> FoundInstance:
    """An instance that fills its box."""
    x1, y1, x2, y2 = xyxy
    box = (float(x1), float(y1), float(x2), float(y2))
    mask = np.ones((y2 - y1, x2 - x1), np.uint8)
    region = MaskRegion.of(Instance(class_index, score, score, box, (x1, y1), mask))
    return FoundInstance(class_index, f"class{class_index}", score, score, box, region if masked else None)


def answered(*instances: FoundInstance, size_hw: tuple[int, int] = (64, 128)) -> Answer:
    return Answer("tiny", 3, size_hw, instances, StageTimes(network_ms=3, total_ms=4))


def moving(number: int) -> RgbImage:
    """A red square that moves to the right."""
    return street((0, (8 * number, 16, 8 * number + 32, 48)))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny" / "3")


@pytest.fixture(scope="session")
def tiny_server(tiny_folder: Path) -> Iterator[RunningServer]:
    with running(partial(Model.load, tiny_folder)) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, Fraction(50)) as writer:
        for number in range(FRAMES):
            writer.write(moving(number))
    return path


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A clip of 40 frames with 2000 zeros in the middle, where some of its packets were."""
    path, noise = tmp_path / "damaged.mp4", np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    with VideoWriter(path, Fraction(50)) as writer:
        for number in range(40):
            writer.write(np.roll(noise, 3 * number, axis=1))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), moving(number)[..., ::-1])
    return folder
