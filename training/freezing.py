"""What a recipe freezes: no gradient, no decay, no state of the optimiser, no new statistics of BatchNorm."""

from collections.abc import Collection, Iterator, Sequence

from torch import nn

from model.deform_conv import DeformConv2d
from model.weights import briefly
from model.yolact import Yolact
from scene.errors import ConfigurationError, require
from training.convolutions import OFFSETS, convolutions


def freeze(network: Yolact, trains: Sequence[str], new: Collection[str] = (), first: int = 0) -> None:
    """Let the parts ``trains`` of the network learn, by the first words of the state dict's names, and nothing else;
    everything where there are none. Of these, the ``first`` convolutions from the input side are frozen, too, in the
    order of ``training.convolutions``, with their offsets and their BatchNorm.

    ``new`` names the parameters that no weights were carried over to, wholly or in part: they always learn, since
    frozen random weights are of no use. With them learns what was carried over of their layer, but not among the first:
    there a plain convolution's weights stay as they came, and only the offsets and the bias that make it deformable
    learn; a convolution whose own weights are new learns with its BatchNorm. Raises ``ConfigurationError`` where there
    are no so many convolutions, or where nothing would learn.
    """
    names = convolutions(network.state_dict())
    require("freeze_first", 0 <= first <= len(names), f"0 to {len(names)}, the network's convolutions", first)
    anew = {name.rpartition(".")[0] for name in new}
    layers = _layers(network)
    held = set().union(*(layers[name] for name in names[:first] if f"{name}.weight" not in new))
    for name, parameter in network.named_parameters():
        layer = name.rpartition(".")[0]
        learns = not trains or name.partition(".")[0] in trains or layer in anew
        parameter.requires_grad_(name in new or (learns and layer not in held))
    if first and not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigurationError(
            "freeze_first",
            f"expected fewer convolutions than would leave nothing to learn, but {first} of {len(names)} came"
            + (f", where only {', '.join(trains)} learns" if trains else ""),
        )


def carried_over(network: Yolact, new: Collection[str]) -> int:
    """How many of the first convolutions can be frozen: up to the last one whose weights are not ``new``."""
    names = enumerate(convolutions(network.state_dict()), 1)
    return max((place for place, name in names if f"{name}.weight" not in new), default=0)


def freezing_in_words(network: Yolact, new: Collection[str], first: int = 0) -> list[str]:
    """What of the network learns, what is frozen, and what of it is ``new``, a line each; and a line for the ``first``
    convolutions, where any are frozen."""
    learns = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    frozen = {name for name, _ in network.named_parameters()} - learns
    lines = {"learns": learns, "frozen": frozen, "new": set(new)}
    told = [f"{title}: {', '.join(_parts(network, names)) or 'nothing'}" for title, names in lines.items()]
    return told + ([_first_in_words(network, learns, first)] if first else [])


def _first_in_words(network: Yolact, learns: Collection[str], first: int) -> str:
    names = convolutions(network.state_dict())
    layers = set().union(*map(_layers(network).__getitem__, names[:first]))
    anew = [name for name, _ in network.named_parameters() if name in learns and name.rpartition(".")[0] in layers]
    return (
        f"frozen from the input side: the first {first} of {len(names)} convolutions, {names[0]} to {names[first - 1]}"
        + (f", but for what is new: {', '.join(briefly(anew))}" if anew else "")
    )


def _layers(network: Yolact) -> dict[str, set[str]]:
    """By the name of each convolution what is frozen with it: itself, the layer of its offsets, and its BatchNorm,
    which is the one that is defined next."""
    layers: dict[str, set[str]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | DeformConv2d) and not name.endswith(OFFSETS):
            layers[name] = {name, f"{name}.{OFFSETS}"}
        elif isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            layers[next(reversed(layers))].add(name)
    return layers


def _parts(network: Yolact, names: Collection[str]) -> Iterator[str]:
    """Whole parts of the network, each with its numbers, and the layers of a part that is divided."""
    for part, module in network.named_children():
        inside = {f"{part}.{name}": each.numel() for name, each in module.named_parameters()}
        chosen = {name: count for name, count in inside.items() if name in names}
        if chosen:
            layers = dict.fromkeys(name.rpartition(".")[0] for name in chosen)
            what = part if len(chosen) == len(inside) else " and ".join(briefly(layers))
            yield f"{what} ({_short(sum(chosen.values()))})"


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count}"
