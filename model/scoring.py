"""What the class logits mean: probabilities out of them, and the logits that a foreground prior asks for.

How a network is scored follows from the loss that taught it. The published code reads them so, too: softmax; sigmoids
after its sigmoid focal loss; objectness times the classes' softmax after focal objectness; and after plain objectness
(learned from overlaps, and so no probability of anything) the classes' softmax wherever it exceeds ``GATE``.
"""

import math

import torch
from torch import Tensor

from model.config import Scoring

GATE = 0.10
"""The objectness above which an anchor is looked at, as published."""

_SHORT = 32
"""A CPU takes a softmax of rows of up to so many numbers column by column, in a seventh of the time."""


def class_probabilities(logits: Tensor, scoring: Scoring = "softmax") -> Tensor:
    """[B, N, C + 1] -> [B, N, C] in [0, 1], without the first column: the background's with ``softmax``, unused with
    ``sigmoid``, objectness else. Sigmoids need not add up to one."""
    if scoring == "softmax":
        return _softmax(logits)[..., 1:]
    if scoring == "sigmoid":
        return logits[..., 1:].sigmoid()
    objectness = logits[..., :1].sigmoid()
    if scoring == "gated":
        objectness = (objectness > GATE).to(logits.dtype)
    return objectness * _softmax(logits[..., 1:])


def prior_logits(scoring: Scoring, class_count: int, foreground: float) -> Tensor:
    """The logits [C + 1] of an anchor of which nothing is known but how likely it is foreground.

    With ``sigmoid`` every class has that probability p by itself, from -log((1 - p) / p) (RetinaNet, Lin et al. 2017,
    sections 3.3 and 4.1), and so has objectness. Under a softmax the classes have it together: the exponentials of C
    logits of -log C add up to one, and beside them a background of log((1 - p) / p) leaves them a share of p.
    """
    against = math.log((1 - foreground) / foreground)
    logits = torch.zeros(class_count + 1)
    if scoring == "softmax":
        logits[0], logits[1:] = against, -math.log(class_count)
    elif scoring == "sigmoid":
        logits[1:] = -against
    else:
        logits[0] = -against
    return logits


def _softmax(logits: Tensor) -> Tensor:
    """Over the last dimension of [B, N, C]."""
    if logits.shape[-1] > _SHORT:
        return torch.softmax(logits, dim=-1)
    return torch.softmax(logits.transpose(1, 2), dim=1).transpose(1, 2)
