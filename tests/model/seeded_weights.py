"""Name-seeded weights: any implementation with the published state_dict keys gets the same ones, with no weight file.

The golden values in ``tests/testdata/parity`` were computed with the original YOLACT++ network (dbolya/yolact, commit
902073d) holding exactly these weights, on torch 2.13 CPU, float32, in eval mode (losses: train mode with BatchNorm
frozen).
"""

import zlib

import torch
import torch.nn.functional as F


def fill_seeded_weights(module: torch.nn.Module) -> int:  # noqa: C901, PLR0912  # one branch a kind of tensor
    """Fill every floating tensor of ``module.state_dict()`` from a generator seeded by crc32 of its key; their count.

    Non-floating tensors (``num_batches_tracked``) become 0.
    """
    count = 0
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                tensor.zero_()
                continue
            generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
            if key.endswith("running_var"):
                value = 0.5 + torch.rand(tensor.shape, generator=generator)
            elif key.endswith("running_mean"):
                value = 0.1 * torch.randn(tensor.shape, generator=generator)
            elif tensor.dim() == 1 and key.endswith("weight"):  # BatchNorm; small on a residual branch's last norm
                last = ".bn3." in key or ("_preconv" not in key and ".conv2.1." in key)
                value = (0.5 + torch.rand(tensor.shape, generator=generator)) * (0.15 if last else 1.0)
            elif tensor.dim() == 1 and "maskiou_net" in key:  # positive, so that its ReLUs let something through
                value = 0.1 + 0.2 * torch.rand(tensor.shape, generator=generator)
            elif tensor.dim() == 1:
                value = 0.05 * torch.randn(tensor.shape, generator=generator)
            else:
                gain = 2.0
                if "conv_offset_mask" in key:
                    gain = 0.5
                if "conf_layer" in key:
                    gain = 3.0
                if "lat_layers" in key:
                    gain = 0.3
                if "semantic_seg" in key:
                    gain = 0.2
                if "bbox_layer" in key or "mask_layer" in key:
                    gain = 0.5
                if "backbone" in key and "downsample" in key:
                    gain = 1.0
                value = torch.randn(tensor.shape, generator=generator) * (gain / tensor[0].numel()) ** 0.5
            tensor.copy_(value)
            count += 1
    return count


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
