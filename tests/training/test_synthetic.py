"""Synthetic scenes: refused settings, determinism, statistics, labels, the written data set, clips."""

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO

from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.training.drawn_pictures import fingerprint, pasted
from training.data.street_camera import Camera, look
from training.data.street_ensemble import Ensemble, Pose
from training.data.street_light import draw_light
from training.data.street_mesh import Mesh
from training.data.street_outlines import project
from training.data.street_painter import Painter
from training.data.street_props import prop
from training.data.street_render import painting_order, render
from training.data.street_scenes import draw_world
from training.data.street_vehicles import car
from training.data.synthetic import (
    VERSION,
    SceneSettings,
    StreetScene,
    clip,
    scene,
    scene_seed,
    write_dataset,
)

SMALL = SceneSettings(height=256, width=512)
REFERENCE = 1024 * 2048
SCENES = 200


@cache
def many() -> tuple[StreetScene, ...]:
    return tuple(scene(seed, SMALL) for seed in range(SCENES))


@cache
def drive() -> tuple[StreetScene, ...]:
    return tuple(clip(5, seconds=2.0, fps=10.0, settings=SMALL))


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"count": 0}, "count"), ({"count": -3}, "count"), ({"seed": -1}, "seed"), ({"workers": 0}, "workers")],
)
def test_impossible_data_set_is_refused_before_anything_is_written(
    tmp_path: Path, changed: dict[str, int], field: str
) -> None:
    wanted = {"count": 1, "seed": 0, "workers": 1} | changed
    folder = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="expected") as caught:
        write_dataset(folder, wanted["count"], wanted["seed"], SMALL, wanted["workers"])
    assert caught.value.field == field
    assert not folder.exists()


@pytest.mark.parametrize(("height", "width", "field"), [(0, 512, "height"), (256, 63, "width"), (9000, 512, "height")])
def test_impossible_frame_size_is_refused(height: int, width: int, field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SceneSettings(height, width)
    assert caught.value.field == field


def test_settings_without_a_condition_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="conditions: expected at least one"):
        SceneSettings(conditions=())


@pytest.mark.parametrize(("seconds", "fps"), [(0.0, 25.0), (1.0, 0.0), (-1.0, 25.0), (float("nan"), 25.0)])
def test_impossible_clip_is_refused_at_the_call(seconds: float, fps: float) -> None:
    with pytest.raises(ConfigurationError):
        clip(0, seconds, fps, SMALL)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        scene(-1, SMALL)
    with pytest.raises(ConfigurationError):
        clip(-1, settings=SMALL)


def test_folder_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    occupied = tmp_path / "taken"
    occupied.write_text("not a folder", encoding="utf-8")
    with pytest.raises(DataError, match="taken"):
        write_dataset(occupied, 1, 0, SMALL)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 200), (300, 120), (91, 333), (720, 1280)])
def test_any_size_gives_a_full_picture(height: int, width: int) -> None:
    made = scene(3, SceneSettings(height, width))
    assert made.image.shape == (height, width, 3)
    assert made.image.dtype == np.uint8
    assert made.image.std() > 10


def test_same_seed_gives_the_same_scene_and_others_differ() -> None:
    assert fingerprint(scene(11, SMALL)) == fingerprint(scene(11, SMALL))
    assert len({fingerprint(made) for made in many()}) == SCENES


def test_scene_does_not_depend_on_process_or_on_what_was_made_before() -> None:
    program = (
        "from tests.training.drawn_pictures import fingerprint\n"
        "from tests.training.test_synthetic import SMALL\n"
        "from training.data.synthetic import scene\n"
        "print(*[fingerprint(scene(seed, SMALL)) for seed in (17, 4)], sep='\\n')\n"
    )
    root = Path(__file__).parents[2]
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert there.stdout.splitlines() == [fingerprint(many()[17]), fingerprint(many()[4])]


def test_statistics_are_a_streets() -> None:
    assert_statistics_are_a_streets(many(), SMALL)


@pytest.mark.slow
def test_statistics_are_a_streets_at_full_size() -> None:
    full = SceneSettings(height=1024, width=2048)
    assert_statistics_are_a_streets(tuple(scene(seed, full) for seed in range(SCENES)), full)


def assert_statistics_are_a_streets(scenes: tuple[StreetScene, ...], settings: SceneSettings) -> None:
    scale = REFERENCE / (settings.height * settings.width)
    found = [item for made in scenes for item in made.instances]
    small = np.mean([item.visible_area * scale < 1024 for item in found])
    hidden = np.mean([item.occlusion >= 0.25 for item in found])
    counts = Counter(STREET_CLASSES[item.class_index] for item in found)
    assert np.median([len(made.instances) for made in scenes]) >= 12
    assert 0.40 <= small <= 0.55
    assert 0.25 <= hidden <= 0.45
    assert all(counts[name] >= 50 for name in STREET_CLASSES), counts
    assert min(counts["car"], counts["person"]) > max(counts["bus"], counts["train"], counts["motorcycle"])


def test_scenes_differ_in_light_and_layout() -> None:
    brightness = [made.image.mean() for made in many()]
    assert np.std(brightness) > 10
    assert len({len(made.instances) for made in many()}) > 10


def test_masks_are_disjoint_and_boxes_tight_and_inside() -> None:
    size_hw = (SMALL.height, SMALL.width)
    for made in many()[:40]:
        taken = np.zeros(size_hw, int)
        for item in made.instances:
            x0, y0, x1, y1 = item.box_xyxy
            assert 0 <= x0 < x1 <= SMALL.width and 0 <= y0 < y1 <= SMALL.height
            assert item.mask.shape == (y1 - y0, x1 - x0)
            assert item.mask[0].any() and item.mask[-1].any() and item.mask[:, 0].any() and item.mask[:, -1].any()
            taken += pasted(item, size_hw)
        assert taken.max(initial=0) <= 1


def test_nothing_tiny_or_all_hidden_is_labelled() -> None:
    least = SMALL.smallest_area * SMALL.height * SMALL.width / REFERENCE
    for item in (item for made in many() for item in made.instances):
        assert least <= item.visible_area <= item.full_area
        assert 0.0 <= item.occlusion <= SMALL.most_occlusion
        assert 0 <= item.class_index < len(STREET_CLASSES)


def test_stricter_settings_drop_labels_and_keep_pixels() -> None:
    strict = SceneSettings(SMALL.height, SMALL.width, smallest_area=1500.0, most_occlusion=0.3)
    loose, tight = many()[7], scene(7, strict)
    assert np.array_equal(loose.image, tight.image)
    assert 0 < len(tight.instances) < len(loose.instances)
    assert {item.track_id for item in tight.instances} < {item.track_id for item in loose.instances}


def test_rider_and_machine_are_two_instances_that_touch() -> None:
    rider, machines = STREET_CLASSES.index("rider"), {STREET_CLASSES.index(name) for name in ("bicycle", "motorcycle")}
    pairs = 0
    for made in many():
        by_id = {item.track_id: item for item in made.instances}
        for item in made.instances:
            machine = by_id.get(item.track_id - 1)
            if item.class_index != rider or machine is None:
                continue
            assert machine.class_index in machines
            a, b = item.box_xyxy, machine.box_xyxy
            pairs += a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
    assert pairs >= 50


def street_camera() -> Camera:
    return Camera(np.array([0.0, 0.0, 1.5]), look(0.0, 0.0, 0.0), 300.0, (256.0, 128.0), (256, 512))


def paint(painter: Painter, mesh: Mesh, pose: Pose, owner: int, grain: int) -> None:
    for outlines in painter.project(Ensemble([mesh], [pose])):
        if outlines is not None:
            painter.outlines(outlines, owner, grain)


def test_distractors_are_painted_and_own_no_pixel() -> None:
    painter = Painter(np.zeros((256, 512, 3), np.uint8), street_camera(), draw_light(np.random.default_rng(1)))
    for column, kind in enumerate(("sign", "lamp", "bin", "bench", "billboard", "trailer", "rail", "gantry")):
        before = painter.image.copy()
        paint(painter, prop(kind, 3), Pose(-7.0 + 2 * column, 14.0, 0.3), 0, 0)
        assert (painter.image != before).any(), kind
    assert not painter.silhouettes
    assert not painter.owners.any()


def test_scenes_hold_distractors_besides_the_labelled() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(15):
        world = draw_world(np.random.default_rng(seed), 0.0)
        kinds.update(actor.kind for actor in world.actors if actor.kind.startswith("prop:") or actor.kind == "tree")
        assert all((actor.class_index >= 0) == (actor.track_id > 0) for actor in world.actors)
        owners = render(world, 0.0, (128, 256)).owners
        known = {actor.track_id for actor in world.actors} | {actor.rider_id for actor in world.actors}
        assert set(np.unique(owners).tolist()) <= known | {0}
    assert {"prop:sign", "prop:lamp", "prop:bin", "prop:trailer", "tree"} <= set(kinds)


def test_nearer_object_hides_the_farther_one() -> None:
    painter = Painter(np.zeros((256, 512, 3), np.uint8), street_camera(), draw_light(np.random.default_rng(1)))
    paint(painter, car(4), Pose(0.0, 20.0, 0.0), 1, 0)
    alone = int((painter.owners == 1).sum())
    paint(painter, car(9), Pose(0.6, 12.0, 0.0), 2, 0)
    left = int((painter.owners == 1).sum())
    assert 0 < left < alone
    assert int(painter.silhouettes[1][0].mask.sum()) == alone
    assert int((painter.owners == 2).sum()) == int(painter.silhouettes[2][0].mask.sum())


@given(y=st.floats(8.0, 60.0), x=st.floats(-4.0, 4.0), heading=st.floats(-3.1, 3.1), number=st.integers(0, 899))
@settings(max_examples=60, deadline=None)
def test_cars_stand_on_the_ground_below_the_horizon(y: float, x: float, heading: float, number: int) -> None:
    camera = street_camera()
    ensemble = Ensemble([car(number)], [Pose(x, y, heading)])
    (outlines,) = project(ensemble, camera, draw_light(np.random.default_rng(0)))
    assert outlines is not None
    lowest = outlines.points[:, 1].max()
    ground = camera.to_pixels(camera.to_camera(np.array([[x, y - 3.2, 0.0], [x, y + 3.2, 0.0]])))[:, 1]
    assert ground[1] - 1 <= lowest <= ground[0] + 1
    assert abs(camera.horizon_row() - 128.0) < 1e-9


def test_object_behind_the_lens_is_not_painted_and_one_beside_it_is_cut() -> None:
    painter = Painter(np.zeros((256, 512, 3), np.uint8), street_camera(), draw_light(np.random.default_rng(1)))
    paint(painter, car(2), Pose(0.0, -9.0, 0.0), 1, 0)
    assert not painter.owners.any()
    paint(painter, car(2), Pose(-2.2, 1.5, 0.0), 1, 0)
    rows, columns = np.nonzero(painter.owners == 1)
    assert len(rows) and columns.max() < 256


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(3, 80), st.floats(0.5, 4), st.floats(0.5, 12)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_painting_order_is_a_permutation_and_far_rows_come_first(boxes: list[tuple[float, ...]]) -> None:
    lows = np.array([[x, y] for x, y, _, _ in boxes]).reshape(-1, 2)
    highs = lows + np.array([[wide, deep] for _, _, wide, deep in boxes]).reshape(-1, 2)
    order = painting_order(lows, highs, np.zeros(2))
    assert sorted(order) == list(range(len(boxes)))
    if len(boxes) == 2 and lows[0, 1] >= highs[1, 1] and lows[1, 0] < highs[0, 0] and lows[0, 0] < highs[1, 0]:
        assert order == [0, 1]


def test_long_vehicle_beside_a_nearer_lane_is_painted_first() -> None:
    bus, bicycle = ((3.0, 10.0), (5.5, 24.0)), ((1.5, 18.0), (2.2, 20.0))
    lows, highs = np.array([bicycle[0], bus[0]]), np.array([bicycle[1], bus[1]])
    assert painting_order(lows, highs, np.array([0.0, 0.0])) == [1, 0]


def test_written_data_set_is_cocos_and_gives_the_masks_back(tmp_path: Path) -> None:
    steps: list[int] = []
    path = write_dataset(tmp_path, 4, 21, SMALL, progress=steps.append)
    assert steps == [1, 2, 3, 4]
    assert path == tmp_path / "instances.json"
    coco = COCO(str(path))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(STREET_CLASSES)
    for index, image in enumerate(coco.loadImgs(sorted(coco.getImgIds()))):
        made = scene(scene_seed(21, index), SMALL)
        rows = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert len(rows) == len(made.instances)
        for row, item in zip(rows, made.instances, strict=True):
            full = pasted(item, (SMALL.height, SMALL.width))
            assert np.array_equal(coco.annToMask(row).astype(bool), full)
            assert row["category_id"] == item.class_index + 1
            assert row["area"] == item.visible_area == int(rle.area(row["segmentation"]))
            assert row["bbox"] == rle.toBbox(row["segmentation"]).tolist()
            assert row["iscrowd"] == 0
            assert row["occlusion"] == pytest.approx(item.occlusion, abs=1e-4)
        read = np.asarray(cv2.imread(str(tmp_path / "images" / image["file_name"])))[:, :, ::-1]
        assert read.shape == (image["height"], image["width"], 3)
        assert np.abs(read.astype(int) - made.image).mean() < 12


def test_written_json_tells_version_and_seed(tmp_path: Path) -> None:
    document = json.loads(write_dataset(tmp_path, 1, 8, SMALL).read_text(encoding="utf-8"))
    assert document["info"]["version"] == VERSION
    assert document["info"]["seed"] == 8
    assert [row["id"] for row in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    assert all(isinstance(row["segmentation"]["counts"], str) for row in document["annotations"])


def test_number_of_workers_does_not_matter(tmp_path: Path) -> None:
    one = write_dataset(tmp_path / "one", 5, 2, SMALL, workers=1)
    two = write_dataset(tmp_path / "two", 5, 2, SMALL, workers=2)
    assert one.read_bytes() == two.read_bytes()
    names = sorted(path.name for path in (tmp_path / "one" / "images").iterdir())
    assert names == [f"{index:06d}.jpg" for index in range(5)]
    for name in names:
        assert (tmp_path / "one" / "images" / name).read_bytes() == (tmp_path / "two" / "images" / name).read_bytes()


def test_data_sets_of_different_seeds_share_no_scene() -> None:
    seeds = {scene_seed(seed, index) for seed in range(20) for index in range(500)}
    assert len(seeds) == 20 * 500


def test_clip_has_the_asked_frames_and_is_the_same_again() -> None:
    assert len(drive()) == 20
    again = list(clip(5, seconds=2.0, fps=10.0, settings=SMALL))
    assert [fingerprint(frame) for frame in again] == [fingerprint(frame) for frame in drive()]
    assert not np.array_equal(drive()[0].image, drive()[1].image)


def test_clip_ids_keep_their_class_and_persist() -> None:
    classes: dict[int, set[int]] = {}
    for frame in drive():
        ids = [item.track_id for item in frame.instances]
        assert len(ids) == len(set(ids))
        for item in frame.instances:
            classes.setdefault(item.track_id, set()).add(item.class_index)
    assert classes and all(len(kinds) == 1 for kinds in classes.values())
    first, last = drive()[0].instances, drive()[-1].instances
    assert len({item.track_id for item in first} & {item.track_id for item in last}) >= 3


def test_clip_objects_move_smoothly() -> None:
    """Whole silhouettes away from the frame's edge cannot jump between frames a fiftieth of a second apart."""
    frames = list(clip(6, seconds=0.2, fps=50.0, settings=SMALL))
    compared = 0
    for before, after in pairwise(frames):
        known = {item.track_id: item for item in before.instances if item.occlusion < 0.05}
        for item in after.instances:
            earlier = known.get(item.track_id)
            if earlier is None or item.occlusion > 0.05 or item.box_xyxy[0] == 0 or item.box_xyxy[2] == SMALL.width:
                continue
            shift = np.abs(np.subtract(item.box_xyxy, earlier.box_xyxy))
            side = max(item.mask.shape)
            assert shift.max() <= 3 + 0.08 * side, (item.track_id, item.box_xyxy, earlier.box_xyxy)
            compared += 1
    assert compared >= 20


def test_clip_world_is_stable_under_new_noise() -> None:
    """At a very high frame rate the street stands still: neighbouring frames differ by their noise alone."""
    first, second = clip(9, seconds=0.0002, fps=10_000 - 1, settings=SMALL)
    apart = np.abs(cv2.blur(first.image, (9, 9)).astype(int) - cv2.blur(second.image, (9, 9)))
    assert apart.mean() < 3
    assert [item.track_id for item in first.instances] == [item.track_id for item in second.instances]


def test_generator_needs_no_torch() -> None:
    program = "import sys, training.data.synthetic; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=root).returncode == 0
