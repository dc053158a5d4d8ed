"""What speed is held against."""

import torch
from torch import Tensor, nn

from bench.plain import PlainSegmenter
from model.segmenter import Segmenter
from tests.model.tiny_network import TINY, seeded_network


def test_maps_are_contiguous_all_the_way_and_the_answer_is_the_segmenters() -> None:
    network = seeded_network()
    layouts: list[bool] = []

    def look(_: nn.Module, __: object, answer: Tensor) -> None:
        layouts.append(answer.is_contiguous())

    for part in network.backbone.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(look)
    picture = torch.randint(0, 256, (2, *TINY.size_hw, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.inference_mode():
        ours = PlainSegmenter(network).eval().infer(picture)
        assert len(layouts) > 10
        assert all(layouts)
        expected = Segmenter(network).eval().infer(picture)
    for name, tensor in expected._asdict().items():
        torch.testing.assert_close(getattr(ours, name), tensor, atol=1e-4, rtol=1e-4, msg=name)
