"""What a recipe freezes: no gradient, no decay, no state of the optimiser, and BatchNorm keeps its statistics."""

from collections.abc import Collection, Iterator, Sequence

from torch import nn

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


def hold_frozen_norms(network: Yolact) -> None:
    """After ``network.train()``: BatchNorms whose parameters are frozen use their statistics and do not change them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def freezing_in_words(network: Yolact) -> list[str]:
    """Which of the network's parts learn, and which do not."""
    learn = ", ".join(_parts(network, learning=True))
    frozen = ", ".join(_parts(network, learning=False))
    return [f"learns: {learn or 'nothing'}", f"frozen: {frozen or 'nothing'}"]


def _parts(network: Yolact, learning: bool) -> Iterator[str]:
    """Whole parts by name, with their numbers; the layers of one that is divided."""
    for part, module in network.named_children():
        wanted = [(name, each) for name, each in module.named_parameters() if each.requires_grad == learning]
        if wanted:
            whole = len(wanted) == len(list(module.parameters()))
            layers = dict.fromkeys(f"{part}.{name.rpartition('.')[0]}".rstrip(".") for name, _ in wanted)
            count = sum(each.numel() for _, each in wanted)
            yield f"{part if whole else ' and '.join(layers)} ({_short(count)})"


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count}"
