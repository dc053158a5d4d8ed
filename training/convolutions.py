"""A network's convolutions in the order in which the input passes through them, by their names in the state dict."""

from collections.abc import Iterable, Mapping

from torch import Tensor

PARTS = ("backbone", "fpn", "proto_net", "prediction_layers", "maskiou_net", "semantic_seg_conv")
"""The network's parts from the input on, as the state dict calls them; the one that only teaches is the last."""

OFFSETS = "conv_offset_mask"
"""The layer in a deformable convolution that says where its taps look, which counts as no convolution of its own."""

_FIRST = ("downsample", "upfeature")
"""What is passed through before what its block or head has beside it."""


def convolutions(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of the convolutions of a network's ``state_dict``, or of a part of it, in the order in which the
    input passes through them; a deformable one counts once, by its own weight.

    Part after part (``PARTS``); in a block of the backbone the shortcut first, which sees what the block sees; in the
    FPN from C5 down, a level's lateral layer before the one that predicts from it, then P6 and P7.
    """
    return in_order(name.rpartition(".")[0] for name, tensor in state.items() if _is_convolution(name, tensor))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of convolutions in the order in which the input passes through them."""
    return tuple(sorted(names, key=_place))


def part_of(name: str) -> str:
    """The part of the network that a tensor or layer of that name is in."""
    return name.partition(".")[0]


def _is_convolution(name: str, tensor: Tensor) -> bool:
    layer, _, kind = name.rpartition(".")
    return kind == "weight" and tensor.dim() == 4 and part_of(name) in PARTS and not layer.endswith(OFFSETS)


def _place(name: str) -> tuple[tuple[int, str], ...]:
    part, *words = name.split(".")
    if part == "fpn":
        words = [f"{words[0] == 'downsample_layers':d}", *words[::-1]]
    return (PARTS.index(part), ""), *map(_rank, words)


def _rank(word: str) -> tuple[int, str]:
    """Numbers by size, words by the alphabet but for those that come first."""
    return (int(word), "") if word.isdigit() else (int(word not in _FIRST), word)
