"""Average precision of pictures drawn anew, to tell a change of AP from what other pictures would have made of it."""

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from training.data.dataset import InstanceDataset
from training.predictions import Prediction

Kind = Literal["box", "mask"]
KINDS: tuple[Kind, ...] = ("box", "mask")
_SEED = 1


@dataclass(frozen=True)
class ApChange:
    """``points`` of AP, of 100, that one way has more than another on the same pictures, with the 95 % interval."""

    points: float
    low: float
    high: float


class Matches:
    """One way's predictions on a data set matched with the truth once, so that pictures can be drawn again cheaply."""

    def __init__(self, predictions: list[Prediction], dataset: InstanceDataset, kind: Kind) -> None:
        with redirect_stdout(StringIO()):
            truth = COCO()
            truth.dataset = {"info": {}, **dataset.ground_truth}
            truth.createIndex()
            found = _results(truth, predictions, kind)
            self._scorer: Any = COCOeval(truth, found, "bbox" if kind == "box" else "segm")
            parameters = self._scorer.params
            parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
            parameters.maxDets = parameters.maxDets[-1:]
            self._scorer.evaluate()
        self._redrawn: dict[int, NDArray[np.float64]] = {}
        self._rows = np.array(self._scorer.evalImgs, dtype=object).reshape(len(parameters.catIds), -1)

    def __len__(self) -> int:
        return int(self._rows.shape[1])

    def ap(self, pictures: NDArray[np.int64] | None = None) -> float:
        """COCO's AP in [0, 1] of a draw: as many numbers of pictures as there are, some of them several times."""
        rows = self._rows if pictures is None else self._rows[:, pictures]
        self._scorer.evalImgs = list(rows.reshape(-1))
        with redirect_stdout(StringIO()):
            self._scorer.accumulate()
        table = self._scorer.eval["precision"]
        known = table[table > -1]
        return float(known.mean()) if known.size else 0.0

    def redrawn(self, resamples: int) -> NDArray[np.float64]:
        """AP of so many draws of as many pictures, with replacement; the same draws for every way."""
        if resamples not in self._redrawn:
            rng = np.random.default_rng(_SEED)
            draws = [rng.integers(0, len(self), len(self)) for _ in range(resamples)]
            self._redrawn[resamples] = np.array([self.ap(draw) for draw in draws])
        return self._redrawn[resamples]


def ap_change(ours: Matches, theirs: Matches, resamples: int) -> ApChange:
    """How much more AP ours have, with a paired bootstrap over pictures: both ways are scored on the same draws."""
    changes = 100 * (ours.redrawn(resamples) - theirs.redrawn(resamples))
    low, high = np.quantile(changes, (0.025, 0.975))
    return ApChange(100 * (ours.ap() - theirs.ap()), float(low), float(high))


def _results(truth: Any, predictions: list[Prediction], kind: Kind) -> Any:
    """The predictions as COCO's results; its own loader refuses an empty list."""
    if not predictions:
        nothing = COCO()
        nothing.dataset = {**truth.dataset, "annotations": []}
        nothing.createIndex()
        return nothing
    shape = "bbox" if kind == "box" else "segmentation"
    return truth.loadRes(
        [
            {
                "image_id": row.image_id,
                "category_id": row.class_index + 1,
                "score": row.score if kind == "box" else row.mask_score,
                shape: list(row.box_xywh) if kind == "box" else row.rle,
            }
            for row in predictions
        ]
    )
