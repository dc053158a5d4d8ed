"""What a recipe freezes: no gradient, no decay, no state of the optimiser, no new statistics of BatchNorm."""

from collections.abc import Collection, Iterator, Sequence

from model.weights import briefly
from model.yolact import Yolact


def freeze(network: Yolact, trains: Sequence[str], new: Collection[str] = ()) -> None:
    """Let the parts ``trains`` of the network learn, by the first words of the state dict's names, and nothing else;
    everything where there are none.

    ``new`` names the parameters that no weights were carried over to, wholly or in part: their layers always learn,
    since frozen random weights are of no use.
    """
    layers = {name.rpartition(".")[0] for name in new}
    for name, parameter in network.named_parameters():
        learns = not trains or name.partition(".")[0] in trains or name.rpartition(".")[0] in layers
        parameter.requires_grad_(learns)


def freezing_in_words(network: Yolact, new: Collection[str]) -> list[str]:
    """What of the network learns, what is frozen, and what of it is ``new``, a line each."""
    learns = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    frozen = {name for name, _ in network.named_parameters()} - learns
    lines = {"learns": learns, "frozen": frozen, "new": set(new)}
    return [f"{title}: {', '.join(_parts(network, names)) or 'nothing'}" for title, names in lines.items()]


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
