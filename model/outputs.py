"""What the network returns, the same in training and in inference."""

from typing import NamedTuple

from torch import Tensor


class YolactOutputs(NamedTuple):
    """Raw outputs for a batch of B pictures, N anchors, C classes, k prototypes of h x w.

    box_offsets        [B, N, 4] as (dx, dy, log dw, log dh) against the anchors, scaled by SSD's variances
    class_logits       [B, N, C + 1], background first; ``model.scoring`` says what else they may mean
    mask_coefficients  [B, N, k] in [-1, 1]
    prototypes         [B, h, w, k], not negative
    p3                 [B, F, H / 8, W / 8]: the finest pyramid level, which the semantic loss looks at
    """

    box_offsets: Tensor
    class_logits: Tensor
    mask_coefficients: Tensor
    prototypes: Tensor
    p3: Tensor
