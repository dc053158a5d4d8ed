"""Streets whose rare classes are as rare as in Cityscapes."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scene.classes import STREET_CLASSES
from streetmask.cli import main
from training.data.street_balance import thinned
from training.data.street_scenes import draw_world
from training.data.street_world import World
from training.data.synthetic import SceneSettings, scene, write_dataset

RARE = {"truck", "bus", "train", "motorcycle"}


def worlds(count: int) -> list[World]:
    return [draw_world(np.random.default_rng(seed), 0.0) for seed in range(count)]


def counts(drawn: list[World]) -> Counter[str]:
    found = Counter(actor.kind for world in drawn for actor in world.actors if actor.class_index >= 0)
    return found + Counter("rider" for world in drawn for actor in world.actors if actor.rider_id)


def test_rare_classes_become_rare_and_common_ones_stay() -> None:
    even = worlds(120)
    thin = [thinned(world, "cityscapes", np.random.default_rng(seed)) for seed, world in enumerate(even)]
    before, after = counts(even), counts(thin)
    assert {kind: after[kind] for kind in ("person", "car")} == {kind: before[kind] for kind in ("person", "car")}
    # Objects in Cityscapes' training set, to the nearest hundred: 17,900 persons, 500 trucks, 400 buses, 200 trains.
    assert after["train"] < 0.2 * before["train"]
    assert after["person"] > 20 * max(after["truck"], after["bus"], after["train"])
    assert after["train"] < min(after[kind] for kind in ("truck", "bus", "motorcycle", "rider", "bicycle"))
    for world, thinner in zip(even, thin, strict=True):
        assert set(thinner.actors) <= set(world.actors)
        assert len({actor for actor in world.actors if actor.class_index < 0} - set(thinner.actors)) == 0
    assert all(thinned(world, "even", np.random.default_rng(0)) is world for world in even)


def test_a_scene_loses_things_and_keeps_its_street() -> None:
    seed = next(seed for seed in range(100) if rare_in(seed, SceneSettings(64, 128)) >= 4)
    even, thin = scene(seed, SceneSettings(64, 128)), scene(seed, SceneSettings(64, 128, balance="cityscapes"))
    assert rare_in(seed, SceneSettings(64, 128, balance="cityscapes")) < rare_in(seed, SceneSettings(64, 128))
    same = np.all(even.image == thin.image, axis=2)
    assert 0.1 < same.mean() < 1.0


def rare_in(seed: int, settings: SceneSettings) -> int:
    return sum(STREET_CLASSES[each.class_index] in RARE for each in scene(seed, settings).instances)


def test_the_written_file_says_so(tmp_path: Path) -> None:
    settings = SceneSettings(64, 128, balance="cityscapes")
    assert json.loads(write_dataset(tmp_path / "a", 1, 1, settings).read_text())["info"]["balance"] == "cityscapes"
    assert "balance" not in json.loads(write_dataset(tmp_path / "b", 1, 1, SceneSettings(64, 128)).read_text())["info"]


def test_everyday_views_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["data", "synth", str(tmp_path / "out"), "--count", "1", "--seed", "1", "--view", "everyday"]
    assert main([*asked, "--balance", "cityscapes"]) == 1
    assert "everyday views have none but even, but 'cityscapes' came" in capsys.readouterr().err
