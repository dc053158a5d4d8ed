"""What the loop reads: a seeded order of augmented pictures that a resumed run takes up where it stood."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler

from scene.errors import DataError, require
from training.data.dataset import InstanceDataset
from training.data.mixing import choose_pictures
from training.data.pasting import InstanceDonor, paste_instances
from training.data.sample import Sample
from training.distributed import ALONE, Ranks
from training.matching import Targets
from training.recipes import Recipe
from training.transforms import augment

_ORDER = 2
"""The stream of random numbers that orders an epoch; pictures are augmented and masks drawn by others."""


class Batch(NamedTuple):
    """Pictures uint8 [B, H, W, 3] and the truth of each, boxes in [0, 1]."""

    images: Tensor
    targets: list[Targets]

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        moved = [Targets(*(field.to(device, non_blocking=True) for field in target)) for target in self.targets]
        return Batch(self.images.to(device, non_blocking=True), moved)


class AugmentedPictures(Dataset[tuple[NDArray[np.uint8], Targets]]):
    """Picture number n of a run: which one it is and how it is augmented follow from the seed and n alone.

    The pool is all pictures of ``targets`` and what ``recipe.mixing`` chooses of the source; an epoch shows each of
    them once, in an order of its own. With the probability ``recipe.source_share`` a picture of ``source``, if there is
    one, stands in for the pool's. ``recipe.pasting`` pastes instances of the source into pictures of the targets.

    Raises ``ConfigurationError`` where the recipe needs a source and none came, and what ``choose_pictures`` and
    ``InstanceDonor`` raise.
    """

    def __init__(
        self,
        targets: Sequence[InstanceDataset],
        source: InstanceDataset | None,
        recipe: Recipe,
        size_hw: tuple[int, int],
        seed: int,
    ) -> None:
        mixed, self.donor = _from_source(source, recipe, seed)
        self.pool: Dataset[Sample] = ConcatDataset([*targets, *mixed])  # type: ignore[list-item]  # they are by shape
        self.target_count = sum(len(dataset) for dataset in targets)
        self.pool_count = self.target_count + sum(len(dataset) for dataset in mixed)
        self.source = source if recipe.source_share > 0 else None
        self.recipe = recipe
        self.size_hw = size_hw
        self.seed = seed
        self._epoch = (-1, np.zeros(0, np.int64))

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], Targets]:
        rng = np.random.default_rng([self.seed, number])
        sample = augment(self._draw(number, rng), self.recipe.augmentation, self.size_hw, rng)
        return sample.image, to_targets(sample)

    def index_of(self, number: int) -> int:
        """The place in the pool of picture number n of a run."""
        epoch, place = divmod(number, self.pool_count)
        if self._epoch[0] != epoch:
            self._epoch = epoch, np.random.default_rng([self.seed, epoch, _ORDER]).permutation(self.pool_count)
        return int(self._epoch[1][place])

    def _draw(self, number: int, rng: np.random.Generator) -> Sample:
        if self.source is not None and rng.random() < self.recipe.source_share:
            return self.source[int(rng.integers(len(self.source)))]
        index = self.index_of(number)
        sample = self.pool[index]
        if self.donor is not None and self.recipe.pasting is not None and index < self.target_count:
            return paste_instances(sample, self.donor, self.recipe.pasting, rng)
        return sample


def _from_source(
    source: InstanceDataset | None, recipe: Recipe, seed: int
) -> tuple[list[InstanceDataset], InstanceDonor | None]:
    """What a recipe takes of a source: pictures for the pool, and who gives instances to paste."""
    if source is None:
        wanted = [name for name in ("mixing", "pasting") if getattr(recipe, name) is not None]
        require("source", not wanted, f"a data set for the recipe's {' and '.join(wanted)}", source)
        return [], None
    mixed = [] if recipe.mixing is None else [choose_pictures(source, recipe.mixing, seed)]
    return mixed, None if recipe.pasting is None else InstanceDonor(source, recipe.pasting, seed)


class _Numbers(Sampler[int]):
    """The pictures of a process, by number: its share of each step's batch, behind that of the process before it."""

    def __init__(self, recipe: Recipe, first_step: int, ranks: Ranks) -> None:
        self.steps = range(first_step, recipe.steps)
        self.batch, self.share = recipe.batch, recipe.batch // ranks.count
        self.offset = ranks.rank * self.share

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            first = step * self.batch + self.offset
            yield from range(first, first + self.share)

    def __len__(self) -> int:
        return len(self.steps) * self.share


def feed(pictures: AugmentedPictures, first_step: int, workers: int, ranks: Ranks = ALONE) -> Iterator[Batch]:
    """Batches, or this process's share of them, from ``first_step`` to the recipe's last.

    Raises what reading a picture raises, without a worker's traceback around it.
    """
    loader: DataLoader[Batch] = DataLoader(
        pictures,  # type: ignore[arg-type]  # the collation turns pictures into a Batch
        batch_size=pictures.recipe.batch // ranks.count,
        sampler=_Numbers(pictures.recipe, first_step, ranks),
        num_workers=workers,
        collate_fn=_collate,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
        multiprocessing_context="spawn" if workers else None,  # a fork of a process with threads may hang
        generator=torch.Generator(),  # else it draws from the generator that a resumed run has just restored
    )
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).rstrip().rpartition("\n")[2].rpartition("DataError: ")[2]) from error


def to_targets(sample: Sample) -> Targets:
    """A sample's truth as tensors, boxes in [0, 1], crowds apart."""
    height, width = sample.size_hw
    boxes = torch.from_numpy(sample.boxes_xyxy / np.array([width, height, width, height], np.float32))
    classes, masks = torch.from_numpy(sample.classes), torch.from_numpy(sample.masks)
    crowds = torch.from_numpy(sample.crowds)
    if not sample.crowds.any():  # spares a copy of all masks
        return Targets(boxes, classes, masks, boxes[crowds])
    return Targets(boxes[~crowds], classes[~crowds], masks[~crowds], boxes[crowds])


def _collate(items: list[tuple[NDArray[np.uint8], Targets]]) -> Batch:
    return Batch(torch.from_numpy(np.stack([image for image, _ in items])), [target for _, target in items])


def _one_thread(_worker: int) -> None:
    """In the worker's own process: the loop keeps its threads."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
