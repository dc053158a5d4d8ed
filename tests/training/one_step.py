"""One step of a recipe on a tiny network: what its tests begin with, and which tensors changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from model.config import YolactConfig
from model.weight_file import WeightFile
from model.yolact import Yolact
from tests.model.tiny_network import TINY, seeded_network
from training.feed import Batch
from training.loop import RunSettings, Trainer
from training.matching import Targets
from training.recipes import Recipe

TINY_YOLACT = replace(TINY, rescoring_channels=())
PICTURES = 6


def weights_of(config: YolactConfig, *, bare: bool = False) -> WeightFile:
    """As read from a checkpoint of ours, or from a file that holds nothing but tensors."""
    return WeightFile(Path("tiny.pth"), "PyTorch zip", seeded_network(config).state_dict(), None if bare else config)


def imagenet_backbone() -> WeightFile:
    """The tiny backbone by torchvision's names, plain where ours is deformable."""
    return WeightFile(Path("resnet.pth"), "PyTorch zip", dict(_as_torchvision(seeded_network())))


def _as_torchvision(network: Yolact) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in network.backbone.state_dict().items():
        if not name.endswith(("conv2.bias", "num_batches_tracked")) and "conv_offset_mask" not in name:
            first, _, rest = name.partition(".")
            stage, _, rest_of_it = rest.partition(".")
            yield f"layer{int(stage) + 1}.{rest_of_it}" if first == "layers" else name, tensor


def batch() -> Batch:
    """Pictures of noise, on each a rectangle for the coarsest level of the pyramid and two smaller ones."""
    height, width = TINY.size_hw
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (PICTURES, height, width, 3), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(3, height, width, dtype=torch.uint8)
    masks[0, 8:50, 10:60] = 1
    masks[1, 30:60, 90:110] = 1
    masks[2] = 1
    rectangles = torch.tensor([[10, 8, 60, 50], [90, 30, 110, 60], [0, 0, width, height]])
    boxes = rectangles / torch.tensor([width, height, width, height])
    return Batch(images, [Targets(boxes, torch.tensor([n % 2, 2, 5]), masks, boxes[:0]) for n in range(PICTURES)])


def changed_by_a_step(network: Yolact, recipe: Recipe, folder: Path) -> set[str]:
    """Names of the parameters and buffers that the first step changes; its rate is one that shows in every digit."""
    recipe = replace(recipe, batch=PICTURES, warmup_steps=0, learning_rate=1e-2, precision="float32")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trainer = Trainer(network, recipe, RunSettings(folder, device="cpu", workers=0))
    trainer.train_step(batch())
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
