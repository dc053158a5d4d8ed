"""Under which conditions a scene is seen: dusk, night, rain, motion blur, strong compression, and in which shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from scene.errors import ConfigurationError

CLEAR = "clear"
DUSK, NIGHT, RAIN, MOTION_BLUR, JPEG = "dusk", "night", "rain", "motion-blur", "jpeg"
NAMES = (DUSK, NIGHT, RAIN, MOTION_BLUR, JPEG)
ALL = "all"


@dataclass(frozen=True)
class Condition:
    """What is so at once, by the names above, in their order; nothing of it is a clear day."""

    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join(self.parts) or CLEAR

    def __contains__(self, part: str) -> bool:
        return part in self.parts


Mix = tuple[tuple[Condition, float], ...]
"""Conditions with their shares, which add up to 1."""
CLEAR_DAY = Condition()
CLEAR_ONLY: Mix = ((CLEAR_DAY, 1.0),)
MIXED: Mix = ((CLEAR_DAY, 0.5), *((Condition((name,)), 0.1) for name in NAMES))
"""Half of the scenes clear, a tenth of each other condition."""


def condition_of(text: str) -> Condition:
    """``clear``, one of the names, or several joined as ``night+rain``; raises ``ConfigurationError`` for others."""
    parts = text.split("+")
    if text == CLEAR:
        return CLEAR_DAY
    wrong = [part for part in parts if part not in NAMES]
    if wrong or len(set(parts)) < len(parts) or {DUSK, NIGHT} <= set(parts):
        raise ConfigurationError(
            "conditions",
            f"expected {CLEAR}, or some of {', '.join(NAMES)} joined by + (dusk or night, not both), but {text!r} came",
        )
    return Condition(tuple(name for name in NAMES if name in parts))


def mix_of(words: Sequence[str]) -> Mix:
    """Shares from ``NAME`` or ``NAME=SHARE`` words, made to add up to 1; ``all`` is ``MIXED``, no word is clear only.

    Raises ``ConfigurationError`` for unknown names, a share that is not a positive number, or a name that comes twice.
    """
    if not words:
        return CLEAR_ONLY
    if list(words) == [ALL]:
        return MIXED
    named = [_share_of(word) for word in words]
    if len({condition for condition, _ in named}) < len(named):
        raise ConfigurationError("conditions", f"expected every condition once, but {' '.join(words)!r} came")
    total = sum(share for _, share in named)
    return tuple((condition, share / total) for condition, share in named)


def _share_of(word: str) -> tuple[Condition, float]:
    name, sign, text = word.partition("=")
    try:
        share = float(text) if sign else 1.0
    except ValueError:
        share = 0.0
    if not (isfinite(share) and share > 0):
        raise ConfigurationError("conditions", f"expected NAME or NAME=SHARE with a share above 0, but {word!r} came")
    return condition_of(name), share


def words_of(mix: Mix) -> str:
    """The mix for people: ``clear 50 %, night 50 %``."""
    return ", ".join(f"{condition} {100 * share:.3g} %" for condition, share in mix)


def draw_condition(rng: np.random.Generator, mix: Mix) -> Condition:
    """One of the mix, by its share."""
    edges = np.cumsum([share for _, share in mix])
    return mix[min(int(np.searchsorted(edges, rng.random(), side="right")), len(mix) - 1)][0]
