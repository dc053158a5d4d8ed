"""Fast mask re-scoring (YOLACT++, section 6.1): a mask's IoU with the truth, guessed from the mask alone."""

from typing import cast

import torch
from torch import Tensor, nn


class MaskIouNet(nn.Module):
    """Strided convolutions without padding, a 1x1 to one channel a class, a global maximum; a ReLU after each."""

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        in_channels = 1
        for width in channels:
            steps += [nn.Conv2d(in_channels, width, 3, stride=2), nn.ReLU(inplace=True)]
            in_channels = width
        self.maskiou_net = nn.Sequential(*steps, nn.Conv2d(in_channels, classes, 1), nn.ReLU(inplace=True))

    def forward(self, masks: Tensor) -> Tensor:
        """Cropped soft masks [n, 1, h, w] in [0, 1] -> predicted IoU [n, C], not negative."""
        return torch.amax(cast(Tensor, self.maskiou_net(masks)), dim=(2, 3))
