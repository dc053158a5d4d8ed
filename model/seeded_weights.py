"""Name-seeded weights: any implementation with the same state_dict keys gets the same ones, with no weight file.

For what needs weights but no training: comparing implementations number by number, and timing.
"""

import zlib

import torch


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
