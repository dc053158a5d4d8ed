"""``streetmask analyse focal``: what a focal loss would make a trained network look at."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from scene.errors import ConfigurationError, require
from streetmask.command_line import show_count
from training.data.dataset import describe
from training.data.location import open_dataset


@dataclass(frozen=True)
class FocalArguments:
    """Draw how much of the loss the hardest positives and negatives carry under each gamma, as in the focal-loss paper;
    end in a table and a sentence."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint or published weights."""
    data: Path
    """COCO JSON or folder with instances.json, DIR:SPLIT of Cityscapes' layout, or DIR:NAME of COCO's own."""
    out: Path = Path("focal")
    """Folder for focal.json, focal-positives.png and focal-negatives.png."""
    pictures: int | None = None
    """Only so many pictures, drawn by the seed."""
    gammas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    """Exponents of the focal loss; 0 is cross entropy."""
    positives: int = 100_000
    """Samples of anchors that hold an object, drawn by the seed; fewer if there are fewer."""
    negatives: int = 10_000_000
    """Samples of background, likewise."""
    seed: int = 1
    """Seed of what is drawn."""
    preset: str | None = None
    """Network of weights that leave a choice, such as yolact-im700."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch its own choice."""

    def __post_init__(self) -> None:
        require("threads", self.threads >= 0, "0 or more", self.threads)


def analyse_focal(arguments: FocalArguments) -> None:
    """Measure, showing the progress; write the folder, print the table."""
    import torch  # noqa: PLC0415 - the command line is read without torch and matplotlib

    from training.checkpoint import load_network  # noqa: PLC0415
    from training.focal_analysis import FocalSettings, analyse  # noqa: PLC0415
    from training.focal_report import lines, write  # noqa: PLC0415
    from training.loop import pick_device  # noqa: PLC0415

    names = ("gammas", "positives", "negatives", "pictures", "seed")
    settings = FocalSettings(**{name: getattr(arguments, name) for name in names})
    _require_weights(arguments.checkpoint)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    network = load_network(arguments.checkpoint, arguments.preset)
    dataset = open_dataset(arguments.data, class_names=network.config.class_names)
    arguments.out.mkdir(parents=True, exist_ok=True)  # before the work, lest it was for nothing
    show = partial(show_count, "pictures")
    analysis = analyse(network, dataset, settings, pick_device(arguments.device), show)
    about = {"checkpoint": str(arguments.checkpoint), "data": describe(dataset), "seed": settings.seed}
    write(arguments.out, analysis, **about)
    print(*lines(analysis), sep="\n")


def _require_weights(path: Path) -> None:
    """A file: what has been exported, or is served, answers no logits any more."""
    host, _, port = str(path).rpartition(":")
    if path.is_dir():
        came = f"{path} is a folder; of a model folder take the weights that it came from, {path / 'checkpoint.pt'}"
    elif host and port.isdecimal() and not path.exists():
        came = f"{path} is a server's address, which answers no logits; name the weights that its model came from"
    else:
        return
    raise ConfigurationError("checkpoint", f"expected a checkpoint or published weights, but {came}")
