"""What the golden cases were fed.

The golden values in ``tests/testdata/parity`` were computed with the original YOLACT++ network (dbolya/yolact, commit
902073d) holding exactly the weights of ``model.seeded_weights``, on torch 2.13 CPU, float32, in eval mode (losses:
train mode with BatchNorm frozen).
"""

import torch
import torch.nn.functional as F


def seeded_input(size: int, seed: int = 1) -> torch.Tensor:
    """The network input of the golden cases: already normalised RGB, float32 [1, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, size // 16, size // 16, generator=generator)
    return F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)


def loss_case() -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor], list[int]]:
    """The batch of two behind the golden losses.

    Returns images [2, 3, 550, 550]; per image boxes [n, 5] as (x1, y1, x2, y2 in [0, 1], class from 0, -1 = crowd);
    per image elliptical masks [n, 550, 550]; per image the number of crowd boxes, which stand last.
    """
    boxes = [
        [(0.10, 0.10, 0.40, 0.60, 0), (0.50, 0.30, 0.90, 0.55, 2), (0.05, 0.70, 0.12, 0.80, 2)],
        [(0.30, 0.20, 0.70, 0.95, 5), (0.60, 0.05, 0.66, 0.16, 0), (0.00, 0.00, 1.00, 0.30, -1)],
    ]
    ys, xs = torch.meshgrid(torch.arange(550.0), torch.arange(550.0), indexing="ij")

    def ellipse(x1: float, y1: float, x2: float, y2: float) -> torch.Tensor:
        cx, cy, rx, ry = (x1 + x2) / 2 * 550, (y1 + y2) / 2 * 550, (x2 - x1) / 2 * 550, (y2 - y1) / 2 * 550
        return ((((xs - cx) / rx) ** 2 + ((ys - cy) / ry) ** 2) <= 1).float()

    images = torch.cat([seeded_input(550, seed) for seed in (1, 2)])
    targets = [torch.tensor(rows, dtype=torch.float32) for rows in boxes]
    masks = [torch.stack([ellipse(*row[:4]) for row in rows]) for rows in boxes]
    return images, targets, masks, [0, 1]
