"""The street classes: Cityscapes' eight instance classes, in Cityscapes' order."""

STREET_CLASSES: tuple[str, ...] = (
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""Class names by index from 0; a COCO ``category_id`` is the index plus one."""


def coco_categories(class_names: tuple[str, ...] = STREET_CLASSES) -> list[dict[str, object]]:
    """COCO's ``categories`` section for these names, ids from 1."""
    return [{"id": index, "name": name} for index, name in enumerate(class_names, start=1)]
