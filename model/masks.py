"""Mask assembly: prototypes times coefficients, a sigmoid, and the crop (YOLACT, sections 3.2 and 3.3)."""

import torch
from torch import Tensor

_CROP_PADDING = 1


def assemble_masks(prototypes: Tensor, coefficients: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Soft masks, cropped to their boxes.

    ``prototypes`` [..., h, w, k]; ``coefficients`` [..., n, k]; ``boxes_xyxy`` [..., n, 4] in [0, 1] of the frame;
    returns [..., n, h, w] in [0, 1], zero outside the box grown by one prototype pixel.
    """
    height, width = prototypes.shape[-3:-1]
    flat = prototypes.flatten(-3, -2)
    masks = torch.sigmoid(coefficients @ flat.transpose(-1, -2))
    masks = masks.reshape(*masks.shape[:-1], height, width)
    return torch.where(crop_window(boxes_xyxy, (height, width)), masks, 0.0)


def crop_window(boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Which pixels of a map of (h, w) lie in boxes [..., n, 4] of [0, 1] grown by a pixel: bool [..., n, h, w]."""
    height, width = size_hw
    rows = torch.arange(height, device=boxes_xyxy.device, dtype=boxes_xyxy.dtype)
    columns = torch.arange(width, device=boxes_xyxy.device, dtype=boxes_xyxy.dtype)
    x = torch.stack((boxes_xyxy[..., 0], boxes_xyxy[..., 2]), dim=-1) * width
    y = torch.stack((boxes_xyxy[..., 1], boxes_xyxy[..., 3]), dim=-1) * height
    return _within(rows, y)[..., :, None] & _within(columns, x)[..., None, :]


def _within(places: Tensor, ends: Tensor) -> Tensor:
    """``places`` [m] against ``ends`` [..., n, 2] in either order -> bool [..., n, m]."""
    low = ends.amin(dim=-1, keepdim=True) - _CROP_PADDING
    high = ends.amax(dim=-1, keepdim=True) + _CROP_PADDING
    return (places >= low) & (places < high)
