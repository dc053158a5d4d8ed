"""Which pictures of a source set are mixed into a target set, and how source instances are pasted into its pictures."""

from dataclasses import dataclass
from hashlib import blake2b

from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from training.data.coco import CocoDataset


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
    all, touches no other; one for which ``tries`` places do not do is left out. Its mask is made smaller by ``inset``
    pixels of its own picture, since annotators draw outlines a little outside of the object, and its edge fades along
    a Gaussian of standard deviation ``feather`` in pixels of the picture pasted into. ``smallest_side`` is the least
    longer side of its box in pixels, in its own picture and as pasted, and ``one_piece`` the least share of its mask
    that hangs together, since what others cover in part would stand there in pieces. Instances come from ``pool``
    source pictures at most, which every loader process holds.
    """

    count: tuple[int, int] = (0, 4)
    balanced: bool = False
    scale: tuple[float, float] = (0.25, 1.0)
    mirror: bool = True
    tries: int = 20
    inset: int = 1
    feather: float = 1.0
    smallest_side: int = 24
    one_piece: float = 0.9
    pool: int = 5000


def choose_pictures(source: CocoDataset, rule: SourceRule, seed: int) -> CocoDataset:
    """The source's pictures that a rule and a seed choose, by image id rising.

    Each picture draws a lot by its id and the seed, and the lowest are chosen: the order of the file does not matter, a
    larger count chooses the same pictures and more, and a picture more in the file moves one at most.

    Raises ``DataError`` where fewer fit than the rule counts: a study's row with fewer pictures is another row.
    """
    fitting = fitting_pictures(source, rule)
    if len(fitting) < (1 if rule.count is None else rule.count):
        wanted = "all that hold" if rule.count is None else f"{rule.count} that hold"
        without = f" and no {', no '.join(rule.none_of)}" if rule.none_of else ""
        raise DataError(
            f"{source.annotation_file}: expected {wanted} one of {', '.join(rule.any_of)}{without}, but {len(fitting)} "
            f"of its {len(source)} pictures do; give a larger source set, or a rule that counts fewer"
        )
    return draw_lots(source, fitting, rule.count, seed)


def fitting_pictures(source: CocoDataset, rule: SourceRule) -> list[int]:
    """The indices of the source's pictures that a rule lets in, however many."""
    unknown = sorted({*rule.any_of, *rule.none_of} - set(source.class_names))
    if unknown:
        known = ", ".join(source.class_names)
        raise ConfigurationError(
            "mixing", f"expected classes of {known}, but {unknown} came; name classes that are kept"
        )
    wanted, unwanted = ({source.class_names.index(name) for name in names} for names in (rule.any_of, rule.none_of))

    def fits(index: int) -> bool:
        held = source.classes_on(index)
        single = {class_index for class_index, crowd in held if not crowd}
        return bool(single & wanted) and not any(class_index in unwanted for class_index, _ in held)

    return [index for index in range(len(source)) if fits(index)]


def draw_lots(source: CocoDataset, indices: list[int], count: int | None, seed: int) -> CocoDataset:
    """At most ``count`` of these pictures, by image id rising."""

    def lot(index: int) -> bytes:
        return blake2b(f"{seed} {source.image_id(index)}".encode(), digest_size=8).digest()

    chosen = sorted(indices, key=lot)[:count]
    return source.pick(sorted(chosen, key=source.image_id))
