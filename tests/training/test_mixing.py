import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.data.dataset import InstanceDataset
from training.data.mixing import COCO_1000, COCO_5000, SourceRule, choose_pictures

SIZE = (20, 30)
PERSON, CAR, BUS, BICYCLE = 1, 3, 5, 8
DOG = 18
Held = Sequence[tuple[int, int]]
"""What stands on a picture: category id and ``iscrowd``."""


def source(folder: Path, pictures: Sequence[Held]) -> CocoDataset:
    """Pictures, ids from 1, that hold these categories; COCO's dog is one of them."""
    shape = rle(rectangle(SIZE, (2, 2, 12, 12)))
    rows = [
        annotation(number, shape, category_id=category, iscrowd=crowd)
        for number, held in enumerate(pictures, start=1)
        for category, crowd in held
    ]
    path = write_coco(folder, SIZE, len(pictures), rows)
    content = json.loads(path.read_text())
    content["categories"].append({"id": DOG, "name": "dog"})
    path.write_text(json.dumps(content))
    return CocoDataset(path)


def ids(dataset: InstanceDataset) -> list[int]:
    return [dataset.image_id(index) for index in range(len(dataset))]


@pytest.fixture(scope="module")
def buses(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return source(tmp_path_factory.mktemp("buses"), [[(BUS, 0)]] * 60)


def test_a_source_without_a_fitting_picture_is_told(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[], [(DOG, 0)], [(PERSON, 1)]])
    with pytest.raises(
        DataError, match=r"instances\.json, pictures in .*images: expected all that hold one of person.* but 0 of its 3"
    ):
        choose_pictures(dataset, SourceRule(), seed=1)


def test_rules_by_hand(tmp_path: Path) -> None:
    pictures: list[Held] = [
        [(BUS, 0)],
        [(BUS, 0), (PERSON, 0)],
        [(BUS, 0), (PERSON, 1)],
        [(BICYCLE, 0), (DOG, 0)],
        [(PERSON, 0)],
        [(BICYCLE, 1)],
        [(CAR, 1), (BICYCLE, 0)],
        [(DOG, 0)],
        [],
    ]
    dataset = source(tmp_path, pictures)
    for rule, expected in (
        (SourceRule(none_of=COCO_1000.none_of), [1, 4]),
        (SourceRule(), [1, 2, 3, 4, 5, 7]),
        (SourceRule(any_of=("person", "rider")), [2, 5]),
        (SourceRule(any_of=("bicycle",), none_of=("car",)), [4]),
    ):
        assert ids(choose_pictures(dataset, rule, seed=1)) == expected


def test_the_studys_rules_are_its_words() -> None:
    assert (COCO_1000.count, COCO_1000.any_of, set(COCO_1000.none_of)) == (1000, STREET_CLASSES, {"person", "car"})
    assert (COCO_5000.count, COCO_5000.any_of, COCO_5000.none_of) == (5000, STREET_CLASSES, ())


def test_only_kept_classes_are_labels_and_a_person_stays_one(tmp_path: Path) -> None:
    chosen = choose_pictures(source(tmp_path, [[(DOG, 0), (PERSON, 0), (DOG, 0)]]), SourceRule(), seed=1)
    assert [STREET_CLASSES[index] for index in chosen[0].classes] == ["person"]


def test_too_few_pictures_are_told(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[(BUS, 0)], [(BUS, 0), (CAR, 0)]])
    with pytest.raises(DataError, match=r"expected 1000 that hold one of .* and no person, no car, but 1 of its 2"):
        choose_pictures(dataset, COCO_1000, seed=1)


@pytest.mark.parametrize("rule", [SourceRule(none_of=("dog",)), SourceRule(any_of=("bus", "tram"))])
def test_a_rule_on_classes_that_are_not_kept_cannot_be_judged(buses: CocoDataset, rule: SourceRule) -> None:
    with pytest.raises(ConfigurationError, match=r"mixing: expected classes of person.*(dog|tram)"):
        choose_pictures(buses, rule, seed=1)


@given(st.integers(0, 2**40), st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_seed_alone_chooses(buses: CocoDataset, seed: int, count: int, more: int, shuffled: Random) -> None:
    chosen = ids(choose_pictures(buses, SourceRule(count=count), seed))
    assert len(set(chosen)) == count
    assert chosen == sorted(chosen)
    order = list(range(60))
    shuffled.shuffle(order)
    assert ids(choose_pictures(buses.pick(order), SourceRule(count=count), seed)) == chosen
    assert set(chosen) <= set(ids(choose_pictures(buses, SourceRule(count=max(count, more)), seed)))
    fewer = choose_pictures(buses.pick(order[: max(count, more)]), SourceRule(count=count), seed)
    assert len(set(ids(fewer)) - set(chosen)) <= 60 - max(count, more)


def test_another_seed_chooses_others_and_every_picture_is_as_likely(buses: CocoDataset) -> None:
    times = dict.fromkeys(range(1, 61), 0)
    for seed in range(300):
        for image_id in ids(choose_pictures(buses, SourceRule(count=20), seed)):
            times[image_id] += 1
    assert all(60 < count < 140 for count in times.values())
