"""Cityscapes' labels (Cordts et al. 2016, table of the label definitions) and what they mean for instances here."""

from scene.errors import DataError
from training.data.sample import EVERY_CLASS

LABEL_IDS: dict[str, int] = {
    "unlabeled": 0, "ego vehicle": 1, "rectification border": 2, "out of roi": 3, "static": 4, "dynamic": 5,
    "ground": 6, "road": 7, "sidewalk": 8, "parking": 9, "rail track": 10, "building": 11, "wall": 12, "fence": 13,
    "guard rail": 14, "bridge": 15, "tunnel": 16, "pole": 17, "polegroup": 18, "traffic light": 19, "traffic sign": 20,
    "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28,
    "caravan": 29, "trailer": 30, "train": 31, "motorcycle": 32, "bicycle": 33, "license plate": -1,
}  # fmt: skip
"""Label ids by name; what has an id below 0 is not drawn."""

INSTANCE_LABELS: dict[int, str] = {number: name for name, number in LABEL_IDS.items() if number >= 24}
"""The labels whose objects are told apart: object n of label l is ``1000 l + n``, a group of them is ``l``."""

IGNORED_LABELS = ("caravan", "trailer")
"""Objects that are neither an instance of a class nor background."""

VOID_IDS = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
"""Instance ids on which Cityscapes' own AP excuses every prediction, ``ignoreInEval`` of its labels: no single object's
is among them, so that of a group of caravans is and a caravan's, 29001, is not."""

OBJECTS = 1000
"""So many objects of a label are told apart on one picture."""

GROUP = "group"


class UnknownLabelError(DataError):
    """A label, or an instance id, that Cityscapes does not have."""


def split_label(label: str) -> tuple[int, bool]:
    """A polygon's label as (label id, whether it is a group such as "cargroup"); raises ``UnknownLabelError``."""
    if label in LABEL_IDS:
        return LABEL_IDS[label], False
    name = label.removesuffix(GROUP)
    if name not in LABEL_IDS:
        names = ", ".join(LABEL_IDS)
        raise UnknownLabelError(f"no label {label!r} is known; Cityscapes has {names}, and groups of these")
    return LABEL_IDS[name], True


def is_known(instance_id: int) -> bool:
    """Whether a pixel of an instance picture may have this value."""
    label_id = instance_id // OBJECTS if instance_id >= OBJECTS else instance_id
    return label_id in INSTANCE_LABELS or instance_id in LABEL_IDS.values()


def class_table(class_names: tuple[str, ...]) -> dict[int, int]:
    """Class index by id of each label that is not left out: those of ``class_names``, and what every class ignores.

    Raises ``DataError`` where none of the names is one of Cityscapes'.
    """
    known = {number: class_names.index(name) for number, name in INSTANCE_LABELS.items() if name in class_names}
    if not known:
        raise DataError(f"Cityscapes labels none of {list(class_names)}; it has {', '.join(INSTANCE_LABELS.values())}")
    return known | {LABEL_IDS[name]: EVERY_CLASS for name in IGNORED_LABELS}
