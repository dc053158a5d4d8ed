"""The training loop: steps, checkpoints from which it can be taken up again, and COCO AP on a held-out split."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from model.anchors import make_anchors
from model.config import YolactConfig
from model.detect import DetectSettings
from model.segmenter import Segmenter, TorchPredictor
from model.yolact import Yolact, normalise
from scene.errors import DataError
from training.checkpoint import read_checkpoint, save_checkpoint
from training.class_losses import ClassCounts
from training.data.coco import CocoDataset
from training.evaluate import Evaluation, evaluate
from training.feed import AugmentedPictures, Batch, feed
from training.freezing import hold_frozen_norms
from training.losses import Losses, losses
from training.recipes import Recipe

LAST = "last.pt"


@dataclass(frozen=True)
class RunSettings:
    """Where and how often. ``data`` says in words what is trained on, for the checkpoint and later the model card;
    ``device`` "auto" takes a GPU where there is one; intervals are in steps, 0 for never."""

    folder: Path
    data: tuple[str, ...] = ()
    device: str = "auto"
    workers: int = 1
    seed: int = 1
    checkpoint_every: int = 250
    evaluate_every: int = 1000
    report_every: int = 20


class Trainer:
    """One run of a recipe on a network. ``run`` goes on from the folder's last checkpoint when there is one."""

    def __init__(self, network: Yolact, recipe: Recipe, settings: RunSettings) -> None:
        self.recipe = recipe
        self.settings = settings
        self.device = pick_device(settings.device)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.anchors = make_anchors(network.config).to(self.device)
        self.optimiser = make_optimiser(network, recipe)
        self.counts = ClassCounts(network.config.class_count)
        self.step = 0

    def run(self, pictures: AugmentedPictures, held_out: CocoDataset | None) -> Iterator[Evaluation]:
        """Train to the recipe's last step; yields each evaluation on ``held_out`` as it is made."""
        torch.manual_seed(self.settings.seed)
        self.take_up()
        with SummaryWriter(self.settings.folder / "tensorboard") as writer, _progress() as progress:
            bar = progress.add_task("training", total=self.recipe.steps, completed=self.step, loss="")
            for batch in feed(pictures, self.step, self.settings.workers):
                terms = self.train_step(batch.to(self.device))
                self.step += 1
                if self.step % self.settings.report_every == 0:
                    progress.update(bar, completed=self.step, loss=self._report(terms, writer))
                self._checkpoint_if_due()
                if held_out is not None and self._due(self.settings.evaluate_every):
                    yield self.evaluate(held_out, writer)

    def train_step(self, batch: Batch) -> Losses:
        """One forward, backward and update; raises ``DataError`` where answer or loss is no number any more."""
        self.network.train()
        hold_frozen_norms(self.network)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        images = normalise(batch.images, self.network.config).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            outputs = self.network(images)
        outputs = type(outputs)(*(tensor.float() for tensor in outputs))
        self._require_number(torch.stack([tensor.sum() for tensor in outputs]).sum(), "the network's answer")
        terms = losses(self.network, outputs, self.anchors, batch.targets, self.recipe.losses, self.counts)
        self._require_number(terms.total, "the loss")
        self._update(terms.total)
        return terms

    def evaluate(self, held_out: CocoDataset, writer: SummaryWriter | None = None) -> Evaluation:
        """COCO AP of the network as it stands, through the deployed module."""
        predictor = TorchPredictor(Segmenter(self.network, DetectSettings()), self.device)
        result = evaluate(predictor, held_out)
        if writer is not None:
            writer.add_scalar("ap/mask", result.mask.ap, self.step)
            writer.add_scalar("ap/box", result.box.ap, self.step)
        self._log({"step": self.step, **result.as_dict()})
        return result

    def take_up(self) -> None:
        """Go on from the folder's last checkpoint, if it has one; ``DataError`` where that is of another run."""
        path = self.settings.folder / LAST
        if not path.is_file():
            return
        content = read_checkpoint(path)
        self._require_same_run(content, path)
        self.network.load_state_dict(content["model"])
        self.optimiser.load_state_dict(content["optimiser"])
        torch.set_rng_state(content["torch_rng"])
        self.counts.seen = content.get("class_counts", self.counts.seen)
        self.step = int(content["step"])

    def save(self) -> None:
        """Write the folder's last checkpoint, and in it what the run is trained on."""
        save_checkpoint(
            self.settings.folder / LAST,
            self.network,
            step=self.step,
            data=list(self.settings.data),
            optimiser_name=self.recipe.optimiser,
            optimiser=self.optimiser.state_dict(),
            torch_rng=torch.get_rng_state(),
            class_counts=self.counts.seen,
        )

    def _require_number(self, value: Tensor, name: str) -> None:
        if not bool(torch.isfinite(value)):
            raise DataError(f"{name} is {value.item()} at step {self.step}; lower the learning rate and resume")

    def _require_same_run(self, content: dict[str, Any], path: Path) -> None:
        """Its network and optimiser must be ours: states of one kind load into the other without complaint."""
        for name, ours, theirs in (
            ("network", self.network.config, msgspec.convert(content["config"], YolactConfig)),
            ("optimiser", self.recipe.optimiser, content.get("optimiser_name")),
        ):
            if ours != theirs:
                raise DataError(f"{path} is of a run with another {name}; choose another --out, or use --start {path}")

    def _update(self, total: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.optimiser.step()

    def _due(self, every: int) -> bool:
        return bool(every) and (self.step % every == 0 or self.step == self.recipe.steps)

    def _checkpoint_if_due(self) -> None:
        if self._due(self.settings.checkpoint_every) or self.step == self.recipe.steps:
            self.save()

    def _report(self, terms: Losses, writer: SummaryWriter) -> str:
        values = {name: float(value.detach()) for name, value in terms._asdict().items()}
        for name, value in values.items():
            writer.add_scalar(f"loss/{name}", value, self.step)
        self._log({"step": self.step, "time_s": round(time.time(), 1), **values})
        return " ".join(f"{name} {value:.2f}" for name, value in values.items())

    def _log(self, line: dict[str, Any]) -> None:
        with (self.settings.folder / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def make_optimiser(network: Yolact, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters of the network that are not frozen."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(learning, lr=rate, weight_decay=decay)
    return torch.optim.SGD(learning, lr=rate, momentum=recipe.momentum, weight_decay=decay)


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU, or the CPU where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError(f"device {name} was asked for, but torch sees no GPU here; use --device cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise DataError(f"expected a device such as auto, cpu or cuda:0, but {name!r} came") from error


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
