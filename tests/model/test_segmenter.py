from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.detect import DetectSettings
from model.heads import PredictionHead
from model.masks import crop_window
from model.segmenter import GraphOutputs, Segmenter, TorchPredictor
from model.yolact import Yolact
from tests.model.tiny_network import TINY, seeded_network

ROWS = 30


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Noise and a smooth ramp."""
    noise = torch.randint(0, 256, (1, *TINY.size_hw, 3), generator=torch.Generator().manual_seed(3))
    ramp = torch.linspace(0, 255, TINY.size_hw[1])[None, None, :, None].expand_as(noise)
    return torch.cat((noise, ramp)).to(torch.uint8)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(seeded_network(), DetectSettings(score_threshold=0.4, max_detections=ROWS)).eval()


@pytest.fixture(scope="module")
def answer(segmenter: Segmenter, pictures: Tensor) -> GraphOutputs:
    with torch.inference_mode():
        outputs: GraphOutputs = segmenter(pictures)
    assert int(outputs.num.min()) > 3, "the case should find something"
    return outputs


def test_a_network_sure_of_the_background_finds_nothing(pictures: Tensor) -> None:
    network = seeded_network()
    with torch.no_grad():
        head = network.prediction_layers[0]
        assert isinstance(head, PredictionHead)
        assert head.conf_layer.bias is not None
        head.conf_layer.bias.view(-1, TINY.class_count + 1)[:, 0] += 1e3
        outputs = Segmenter(network).eval()(pictures)
    assert outputs.num.tolist() == [0, 0]
    for tensor in outputs:
        assert not tensor.any()


def test_a_blank_picture_and_fresh_weights_keep_the_contract() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(Yolact(TINY).eval(), DetectSettings(max_detections=ROWS))
    with torch.inference_mode():
        outputs = segmenter(torch.zeros(1, *TINY.size_hw, 3, dtype=torch.uint8))
    _assert_contract(outputs)


def test_contract(answer: GraphOutputs) -> None:
    _assert_contract(answer)


def _assert_contract(outputs: GraphOutputs) -> None:
    batch = len(outputs.num)
    expected = {
        "num": (torch.int32, (batch,)),
        "boxes": (torch.float32, (batch, ROWS, 4)),
        "scores": (torch.float32, (batch, ROWS)),
        "mask_scores": (torch.float32, (batch, ROWS)),
        "classes": (torch.int32, (batch, ROWS)),
        "masks": (torch.uint8, (batch, ROWS, 16, 32)),
    }
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in outputs._asdict().items()} == expected
    for picture, count in enumerate(outputs.num.tolist()):
        assert bool((outputs.scores[picture, :count] > 0).all())
        for tensor in outputs[1:]:
            assert not tensor[picture, count:].any()
    assert bool((outputs.scores.diff(dim=1) <= 0).all())
    assert float(outputs.boxes.min()) >= 0
    assert float(outputs.boxes.max()) <= 1
    assert bool((outputs.boxes[..., 2:] >= outputs.boxes[..., :2]).all())
    assert bool(torch.isfinite(outputs.mask_scores).all())
    assert int(outputs.classes.min()) >= 0
    assert int(outputs.classes.max()) < TINY.class_count


def test_masks_are_zero_outside_their_box_and_not_all_zero_in_it(answer: GraphOutputs) -> None:
    window = crop_window(answer.boxes, (16, 32))
    assert not answer.masks[~window].any()
    assert bool((answer.masks.amax(dim=(2, 3))[answer.scores > 0] > 0).all())


def test_a_batch_answers_as_its_pictures_do_alone(segmenter: Segmenter, pictures: Tensor, answer: GraphOutputs) -> None:
    for index in range(2):
        with torch.inference_mode():
            alone = segmenter(pictures[index : index + 1])
        assert torch.equal(alone.num[0], answer.num[index])
        assert torch.equal(alone.classes[0], answer.classes[index])
        torch.testing.assert_close(alone.scores[0], answer.scores[index], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.boxes[0], answer.boxes[index], atol=1e-5, rtol=0)
        assert int((alone.masks[0].int() - answer.masks[index].int()).abs().max()) <= 1


def test_mask_scores_are_the_class_scores_times_the_predicted_iou(segmenter: Segmenter, answer: GraphOutputs) -> None:
    network = segmenter.network.maskiou_net
    assert network is not None
    with torch.inference_mode():
        ious = network(answer.masks[0].float()[:, None] / 255)
    expected = answer.scores[0] * ious.gather(1, answer.classes[0].long()[:, None])[:, 0]
    torch.testing.assert_close(answer.mask_scores[0], expected, atol=5e-3, rtol=1e-2)  # masks are rounded to 1/255
    assert not torch.allclose(answer.mask_scores, answer.scores, atol=1e-2)


def test_without_rescoring_mask_scores_are_the_scores(pictures: Tensor) -> None:
    network = seeded_network(replace(TINY, rescoring_channels=()))
    assert network.maskiou_net is None
    with torch.inference_mode():
        outputs = Segmenter(network).eval()(pictures)
    assert outputs.num.any()
    assert torch.equal(outputs.mask_scores, outputs.scores)


def test_the_predictor_takes_frames_of_any_size(segmenter: Segmenter, pictures: Tensor, answer: GraphOutputs) -> None:
    frames = [pictures[0].numpy(), np.full((40, 30, 3), 128, np.uint8)]
    found = TorchPredictor(segmenter)(frames)
    assert len(found) == 2
    count = int(answer.num[0])
    assert len(found[0]) == count
    np.testing.assert_allclose(found[0].scores, answer.scores[0, :count].numpy(), atol=1e-5)
    np.testing.assert_array_equal(found[0].classes, answer.classes[0, :count].numpy())
    assert found[1].masks.shape == (len(found[1]), 16, 32)
