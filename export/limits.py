"""What each precision may lose and still be published: limits on matches, masks and AP, and how they are judged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from export.parity import Parity
from scene.artifact import Precision


@dataclass(frozen=True)
class Limits:
    """``matched`` and ``mask_iou`` in [0, 1] at least, None for no limit; ``ap_change`` in points of 100 either way;
    an instance that lies no more than ``score_tolerance`` above its threshold may be missing on the other side."""

    matched: float | None
    mask_iou: float | None
    ap_change: float
    score_tolerance: float


LIMITS: dict[Precision, Limits] = {
    "float32": Limits(0.999, 0.998, 0.1, 0.001),
    "float16": Limits(0.99, 0.99, 0.2, 0.02),
    "bfloat16": Limits(0.98, 0.99, 0.5, 0.05),
    "int8": Limits(None, None, 1.0, 0.15),
}
"""Scores of the last three move as in ``serve.golden``. Of the bundled nano bfloat16 matched 99.0 to 99.8 %, its masks
overlapped by 99.4 % and its AP moved by 0.3 points on 20 scenes, 0.1 on 100: its numbers have three bits fewer than
those of float16."""

LEAST_AP = 10.0
"""In points: of a network that finds next to nothing, a change of AP says nothing."""

LEAST_PICTURES = 20
"""On fewer, AP moves by chance alone as far as the limits of the reduced precisions are."""

LEAST_INSTANCES = 100
"""Of fewer, a single one weighs more than the limits of the reduced precisions allow."""


@dataclass(frozen=True)
class ApPair:
    """One kind of AP of both networks on the same pictures, in points of 100, NaN where there is nothing to find."""

    reference: float
    found: float

    @property
    def change(self) -> float:
        """Positive where the reference is the worse."""
        return self.found - self.reference


@dataclass(frozen=True)
class LabelledAp:
    """Box and mask AP of both networks on so many labelled pictures of a set."""

    pictures: int
    kinds: Mapping[str, ApPair]


@dataclass
class Verdict:
    """What came of holding one way against its limits: sentences for those that it breaks, and for what could not be
    judged; ``judged`` counts the limits that could."""

    beyond: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    judged: int = 0

    def hold(self, kept: bool, sentence: str) -> None:
        """Count a limit that could be judged, and its sentence if it is broken."""
        self.judged += 1
        if not kept:
            self.beyond.append(sentence)


def judge(precision: Precision, parity: Parity, accuracy: LabelledAp | None) -> Verdict:
    """Hold what was compared against the precision's limits; ``accuracy`` None where no picture has labels."""
    verdict, limits = Verdict(), LIMITS[precision]
    _judge_matches(verdict, precision, parity)
    if accuracy is None:
        verdict.remarks.append("AP not applicable: no picture has labels of its classes; give --data")
    elif precision != "float32" and accuracy.pictures < LEAST_PICTURES:
        verdict.remarks.append(
            f"AP not applicable: expected {LEAST_PICTURES} labelled pictures or more for {precision}, "
            f"{accuracy.pictures} came"
        )
    else:
        for kind, pair in accuracy.kinds.items():
            _judge_ap(verdict, limits, kind, pair)
    return verdict


def _judge_matches(verdict: Verdict, precision: Precision, parity: Parity) -> None:
    limits = LIMITS[precision]
    if limits.matched is None or limits.mask_iou is None:
        return
    if parity.matched is None:
        verdict.remarks.append(
            f"matches not applicable: nothing is above the drawing thresholds on {parity.pictures} pictures"
        )
        return
    if precision != "float32" and parity.instances < LEAST_INSTANCES:
        verdict.remarks.append(
            f"matches not applicable: expected {LEAST_INSTANCES} instances or more for {precision}, "
            f"{parity.instances} came"
        )
        return
    verdict.hold(
        parity.matched >= limits.matched,
        f"{100 * parity.matched:.2f} % of the instances are matched, at least {100 * limits.matched:g} % asked",
    )
    if parity.mask_iou is not None:
        verdict.hold(
            parity.mask_iou >= limits.mask_iou,
            f"the masks of matched instances overlap by {parity.mask_iou:.4f}, at least {limits.mask_iou:g} asked",
        )


def _judge_ap(verdict: Verdict, limits: Limits, kind: str, pair: ApPair) -> None:
    """A gain beyond the limit is no better than a loss: it is another network that answers."""
    if math.isnan(pair.reference):
        verdict.remarks.append(f"{kind} AP not applicable: there is nothing to find on the labelled pictures")
    elif pair.reference < LEAST_AP:
        verdict.remarks.append(f"not applicable: the reference's own {kind} AP is {pair.reference:.1f}")
    else:
        verdict.hold(
            abs(pair.change) <= limits.ap_change,
            f"{kind} AP changes by {pair.change:+.2f} points, {limits.ap_change:g} allowed",
        )
