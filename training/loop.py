"""The training loop: steps, checkpoints from which it can be taken up again, and COCO AP on a held-out split."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from model.detect import DetectSettings
from model.segmenter import Segmenter, TorchPredictor
from model.weight_file import config_in
from model.yolact import Yolact
from scene.disk import require_room
from scene.errors import DataError
from training.checkpoint import read_checkpoint, save_checkpoint
from training.data.dataset import InstanceDataset, describe
from training.distributed import ALONE, Ranks
from training.evaluate import Evaluation, evaluate
from training.feed import AugmentedPictures, Batch, feed
from training.recipes import Recipe
from training.run_log import RunLog
from training.step import OVERFLOW, Learner, Outcome
from training.validation_pictures import drawn_pictures

LAST = "last.pt"
BEST = "best.pt"

MOST_FAILURES = 10
"""Steps in a row whose loss is no number, with which a run stops."""

_FREE = ("summary", "study_ap")
"""What may differ of a recipe when a run is taken up again, since it changes no loss; and ``accumulate`` where
BatchNorm's statistics are stored."""

_IN_WORDS = {"optimiser_name": "optimiser", "learns": "choice of what learns", "data": "choice of data"}
_MOST_TOLD = 3


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
    compiled: bool = False


@dataclass
class Standing:
    """What a run remembers beside what it learns: steps done and skipped, the last evaluation and the best, and on
    what they were made."""

    step: int = 0
    skipped: int = 0
    failures_in_a_row: int = 0
    evaluated: int = 0
    best_step: int = 0
    best_mask_ap: float = -1.0
    held_out: str = ""


class Trainer:
    """One run of a recipe on a network. ``run`` goes on from the folder's last checkpoint when there is one.

    With ``ranks``, the same run is one of several processes; the leader alone writes and evaluates.
    """

    def __init__(self, network: Yolact, recipe: Recipe, settings: RunSettings, ranks: Ranks = ALONE) -> None:
        self.recipe = recipe
        self.settings = settings
        self.ranks = ranks
        self.device = pick_device(settings.device, ranks)
        self.network = network
        self.learner = Learner(network, recipe, self.device, settings.seed, ranks)
        self.standing = Standing()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.standing.step

    def run(self, pictures: AugmentedPictures, held_out: InstanceDataset | None) -> Generator[Evaluation, None, None]:
        """Train to the recipe's last step; the leader yields each evaluation on ``held_out`` as it is made."""
        torch.manual_seed(self.settings.seed)
        self.take_up()
        self._require_same_held_out(held_out)
        self.learner.prepare(self.settings.compiled)
        if self.ranks.leads and self.step < self.recipe.steps:
            self.settings.folder.mkdir(parents=True, exist_ok=True)
            require_room(self.settings.folder, self.learner.state_bytes())
        with self._log() if self.ranks.leads else nullcontext() as log:
            if self.standing.evaluated < self.step:  # as when the run ended while it evaluated
                yield from self._evaluate_if_due(held_out, log)
            for outcome in self._steps(pictures, log):
                self._require_numbers(outcome)
                if self._due(self.settings.checkpoint_every) or self.step == self.recipe.steps:
                    self.save()
                yield from self._evaluate_if_due(held_out, log)

    def train_step(self, batch: Batch) -> Outcome:
        """One forward, backward and update with a batch on the device."""
        outcome = self.learner.learn(batch, self.step)
        standing = self.standing
        standing.step += 1
        standing.skipped += bool(outcome.problem)
        if outcome.problem != OVERFLOW:
            standing.failures_in_a_row = standing.failures_in_a_row + 1 if outcome.problem else 0
        return outcome

    def evaluate(self, held_out: InstanceDataset, log: RunLog | None = None) -> Evaluation:
        """COCO AP of the network as it stands, through the deployed module: of its averaged weights, if there are
        any, and then of its raw ones, too, for the log."""
        predictor = self._predictor(self.learner.network_to_use)
        result = evaluate(predictor, held_out)
        if log is not None:
            averaged = self.learner.average is not None
            log.evaluation(self.step, "averaged" if averaged else "raw", result.as_dict())
            if averaged:
                log.evaluation(self.step, "raw", evaluate(self._predictor(self.network), held_out).as_dict())
            log.pictures(self.step, drawn_pictures(predictor, held_out))
        return result

    def take_up(self) -> None:
        """Go on from the folder's last checkpoint, if it has one; ``DataError`` where that is of another run.

        The leader reads it; what it then has is what all have, be it read or fresh.
        """
        path = self.settings.folder / LAST
        if self.ranks.leads and path.is_file():
            content = read_checkpoint(path)
            if not {"optimiser", "torch_rng", "step"} <= content.keys():
                raise DataError(f"{path} holds weights and no run: use --start {path} and another --out")
            self._require_same_run(content, path)
            self._load(content)
        if self.ranks.count > 1:
            self._load(self.ranks.of_leader({"model": self.learner.network_to_use.state_dict(), **self._progress()}))

    def save(self, name: str = LAST) -> None:
        """Write the folder's checkpoint of that name, and in it what the run is trained on."""
        if self.ranks.leads:
            save_checkpoint(self.settings.folder / name, self.learner.network_to_use, **self._progress())

    def _steps(self, pictures: AugmentedPictures, log: RunLog | None) -> Iterator[Outcome]:
        before = time.perf_counter()
        for batch in feed(pictures, self.step, self.settings.workers, self.ranks):
            fed = time.perf_counter()
            outcome = self.train_step(batch.to(self.device))
            now = time.perf_counter()
            if log is not None:
                log.step(self.step, outcome, self.standing.skipped, self.recipe.batch, now - before, fed - before)
            yield outcome
            before = time.perf_counter()  # what evaluation and checkpoint took is no step's

    def _evaluate_if_due(self, held_out: InstanceDataset | None, log: RunLog | None) -> Iterator[Evaluation]:
        if held_out is None or log is None or not self.step or not self._due(self.settings.evaluate_every):
            return
        result = self.evaluate(held_out, log)
        self.standing.evaluated, self.standing.held_out = self.step, describe(held_out)
        if result.mask.ap > self.standing.best_mask_ap:
            self.standing.best_step, self.standing.best_mask_ap = self.step, result.mask.ap
            self.save(BEST)
        self.save()
        yield result

    def _progress(self) -> dict[str, Any]:
        """What a checkpoint holds beside the weights to use."""
        return {
            **msgspec.to_builtins(self.standing),
            "data": list(self.settings.data),
            "seed": self.settings.seed,
            "recipe": msgspec.to_builtins(self.recipe),
            "optimiser_name": self.recipe.optimiser,
            "learns": self._learns(),
            "torch_rng": torch.get_rng_state(),
            **self.learner.state(),
        }

    def _load(self, content: dict[str, Any]) -> None:
        self.learner.load(content)
        torch.set_rng_state(content["torch_rng"])
        known = msgspec.to_builtins(self.standing)
        self.standing = Standing(**{name: content.get(name, value) for name, value in known.items()})

    def _require_same_run(self, content: dict[str, Any], path: Path) -> None:
        """Network, recipe and what it sees must be ours: states of one kind load into another without complaint."""
        config = config_in(content, path)
        theirs = content | {"network": msgspec.to_builtins(config)}
        ours = {
            "network": msgspec.to_builtins(self.network.config),
            "optimiser_name": self.recipe.optimiser,
            "recipe": msgspec.to_builtins(self.recipe),
            "seed": self.settings.seed,
            "learns": self._learns(),
            "data": list(self.settings.data),
        }
        theirs_learned = content.get("learns_statistics", self.learner.learns_statistics)
        free = _FREE if theirs_learned or self.learner.learns_statistics else (*_FREE, "accumulate")
        for name, mine in ours.items():
            differing = difference(theirs.get(name, mine), mine, free)  # older checkpoints lack some
            if differing:
                raise DataError(
                    f"{path} is of a run with another {_IN_WORDS.get(name, name)}{differing}; choose another --out, "
                    f"or use --start {path}"
                )

    def _learns(self) -> list[str]:
        return [name for name, parameter in self.network.named_parameters() if parameter.requires_grad]

    def _require_same_held_out(self, held_out: InstanceDataset | None) -> None:
        """The best AP so far must be of the same pictures."""
        if held_out is None or self.standing.held_out in ("", describe(held_out)):
            return
        raise DataError(
            f"{self.settings.folder / LAST} was evaluated on other pictures ({self.standing.held_out} there, "
            f"{describe(held_out)} here): choose another --out, or the same --held-out"
        )

    def _require_numbers(self, outcome: Outcome) -> None:
        if self.standing.failures_in_a_row < MOST_FAILURES:
            return
        last = self.settings.folder / LAST
        start = f"--start {last}, " if last.is_file() else ""
        rate = f"--learning-rate below {self.recipe.learning_rate:g}"
        precision = ", or --precision float32" if self.recipe.precision != "float32" else ""
        raise DataError(
            f"{outcome.problem} was no number in {MOST_FAILURES} steps in a row, up to step {self.step}, of which "
            f"nothing was learned: train with {start}another --out and a {rate}{precision}"
        )

    def _due(self, every: int) -> bool:
        return bool(every) and (self.step % every == 0 or self.step == self.recipe.steps)

    def _log(self) -> RunLog:
        standing = self.standing
        return RunLog(
            self.settings.folder, self.recipe.steps, self.step, standing.evaluated, self.settings.report_every
        )

    def _predictor(self, network: Yolact) -> TorchPredictor:
        return TorchPredictor(Segmenter(network, DetectSettings()), self.device)


def pick_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device of that name; "auto" is a GPU, each process of a machine its own, or the CPU where there is none."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return _own_gpu(ranks)
    if name == "auto":
        return torch.device("cpu")
    if ranks.count > 1 and name.startswith("cuda:"):
        raise DataError(f"{ranks.count} processes cannot share {name}: --device cuda gives each its own")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError(f"device {name} was asked for, but torch sees no GPU here; use --device cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise DataError(f"expected a device such as auto, cpu or cuda:0, but {name!r} came") from error


def _own_gpu(ranks: Ranks) -> torch.device:
    if ranks.count == 1:
        return torch.device("cuda")
    if ranks.local >= torch.cuda.device_count():
        raise DataError(f"process {ranks.local} of this machine has no GPU: there are {torch.cuda.device_count()}")
    device = torch.device("cuda", ranks.local)
    torch.cuda.set_device(device)
    return device


def difference(theirs: Any, ours: Any, free: Sequence[str]) -> str:
    """In what they differ, in brackets where it can be told in a few words; nothing if they are the same.

    Fields that one of them lacks are passed over: checkpoints are older or newer than the program.
    """
    if isinstance(ours, list) and isinstance(theirs, list):
        return "" if theirs == ours else _difference_of_lists(theirs, ours)
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return "" if theirs == ours else f" ({theirs} there, {ours} here)"
    both = [name for name in ours if name in theirs and name not in free]
    unlike = [name for name in both if difference(theirs[name], ours[name], free)]
    plain = [name for name in unlike if not isinstance(ours[name], dict | list | tuple)]
    told = [f"{name} {theirs[name]} there, {ours[name]} here" for name in plain]
    told += [name for name in unlike if name not in plain]
    return f" ({'; '.join(told)})" if told else ""


def _difference_of_lists(theirs: list[Any], ours: list[Any]) -> str:
    told = []
    for where, some, others in (("there", theirs, ours), ("here", ours, theirs)):
        only = [str(each) for each in some if each not in others]
        more = f" and {len(only) - _MOST_TOLD} more" if len(only) > _MOST_TOLD else ""
        told += [f"only {where}: {', '.join(only[:_MOST_TOLD])}{more}"] if only else []
    return f" ({'; '.join(told) or 'in another order'})"
