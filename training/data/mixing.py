"""Source pictures mixed into a target set, and source instances pasted into its pictures."""

from dataclasses import dataclass

from scene.classes import STREET_CLASSES


@dataclass(frozen=True)
class SourceRule:
    """Which pictures of a source set are mixed in: ``count`` of those that fit, or all of them.

    A picture fits when it holds an instance of a class of ``any_of`` and nothing of a class of ``none_of``. A crowd
    counts for ``none_of``, since it shows the class, and not for ``any_of``, since nothing is learned from it.
    """

    count: int | None = None
    any_of: tuple[str, ...] = STREET_CLASSES
    none_of: tuple[str, ...] = ()


COCO_1000 = SourceRule(count=1000, none_of=("person", "car"))
"""The study's "+1000": at least one of the eight classes and neither a car nor a person."""

COCO_5000 = SourceRule(count=5000)
"""The study's "+5000": at least one of the eight classes."""


@dataclass(frozen=True)
class PasteSettings:
    """How source instances are pasted into a picture.

    From ``count[0]`` up to and with ``count[1]`` instances are drawn for a picture, any instance as likely as another,
    or any class, if ``balanced``. An instance takes a share of the picture's height that is the share that it had in
    its own times a factor from ``scale``, is mirrored with one half if ``mirror``, and laid where its mask, edge and
    all, touches no other; after ``tries`` places that do not do it is left out. ``feather`` is the standard deviation,
    in pixels of the picture pasted into, of the Gaussian along which its edge fades. ``smallest_side`` is the least
    longer side of its box in pixels, in its own picture and as pasted. ``pool`` limits the instances to draw from,
    which every loader process holds.
    """

    count: tuple[int, int] = (0, 4)
    balanced: bool = False
    scale: tuple[float, float] = (0.25, 1.0)
    mirror: bool = True
    tries: int = 20
    feather: float = 1.0
    smallest_side: int = 24
    pool: int = 20_000
