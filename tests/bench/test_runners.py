"""Whole frames in, instances on the frame out, and where the time went."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.runners import DecodingRunner, DeviceClock, GraphRunner, HostClock, Pasting, TorchRunner
from export.graph import deployable
from model.segmenter import TorchPredictor
from scene.image import RgbImage
from serve.engines import Outputs
from serve.frame import EncodedFrame
from tests.model.tiny_network import TINY, seeded_network

FRAMES: list[RgbImage] = list(np.random.default_rng(1).integers(0, 256, (2, 96, 160, 3), np.uint8))
ALL = Pasting((0.0,) * TINY.class_count)


def torch_runner(device: str, dtype: torch.dtype = torch.float32, pasting: Pasting = ALL) -> TorchRunner:
    return TorchRunner(deployable(seeded_network(), dtype=dtype), torch.device(device), pasting, compiled=False)


def test_no_frame_costs_nothing_in_a_stage_that_is_not_entered() -> None:
    assert HostClock().read() == {}
    assert DeviceClock().read() == {}


def test_torch_answers_what_the_deployed_module_answers() -> None:
    run = torch_runner("cpu").run(FRAMES)
    expected = TorchPredictor(deployable(seeded_network()))(FRAMES)
    for ours, theirs in zip(run.rows, expected, strict=True):
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        np.testing.assert_array_equal(ours.masks, theirs.masks)
    assert run.pasted == sum(len(rows) for rows in expected) > 0
    assert set(run.stages_ms) == {"prepare", "network", "nms", "masks", "paste"}


def test_bfloat16_answers_nearly_the_same_and_not_the_same() -> None:
    dtypes = (torch.float32, torch.bfloat16)
    whole, half = (torch_runner("cpu", dtype).run(FRAMES[:1]).rows[0].scores for dtype in dtypes)
    best = min(len(whole), len(half), 5)
    assert np.abs(whole[:best] - half[:best]).max() < 0.1
    assert not np.array_equal(whole[:best], half[:best])


def test_forced_instances_are_pasted_whatever_their_score_and_never_more_than_there_are() -> None:
    strict = Pasting((1.0,) * TINY.class_count)
    assert torch_runner("cpu", pasting=strict).run(FRAMES[:1]).pasted == 0
    assert torch_runner("cpu", pasting=Pasting(strict.thresholds, forced=3)).run(FRAMES).pasted == 6


def test_a_graph_is_one_stage() -> None:
    class Fixed:
        def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
            count = len(images)
            rows = np.zeros((count, 4), np.float32)
            rows[:, 0] = 0.9
            boxes = np.tile(np.array([0, 0, 0.5, 0.5], np.float32), (count, 4, 1))
            masks = np.full((count, 4, 8, 16), 255, np.uint8)
            return Outputs(np.ones(count, np.int32), boxes, rows, rows, np.zeros((count, 4), np.int32), masks)

    run = GraphRunner(Fixed(), (64, 128), ALL).run(FRAMES)
    assert set(run.stages_ms) == {"prepare", "graph", "paste"}
    assert run.pasted == 2
    assert run.rows[0].scores.tolist() == [np.float32(0.9)]


def test_a_decoded_frame_is_answered_as_the_picture_that_it_shows() -> None:
    files = [EncodedFrame.jpeg(frame, 90) for frame in FRAMES]
    run = DecodingRunner(torch_runner("cpu")).run(files)
    expected = torch_runner("cpu").run([file.decode() for file in files])
    assert set(run.stages_ms) == {"decode", "prepare", "network", "nms", "masks", "paste"}
    assert run.pasted == expected.pasted > 0
    for ours, theirs in zip(run.rows, expected.rows, strict=True):
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_masks_are_pasted_at_the_frames_full_size() -> None:
    rows = torch_runner("cpu").run(FRAMES).rows
    pasted = ALL.paste(rows, FRAMES)
    assert [masks.shape for masks in pasted] == [(len(found), 96, 160) for found in rows]
    assert all(masks.dtype == np.uint8 for masks in pasted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_is_timed_by_its_own_events() -> None:
    run = torch_runner("cuda").run(FRAMES)
    assert set(run.stages_ms) == {"prepare", "network", "nms", "masks", "paste"}
    assert min(run.stages_ms.values()) > 0
