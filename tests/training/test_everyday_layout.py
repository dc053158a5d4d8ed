"""Layouts of everyday views: places, sizes, walls and shores."""

from functools import cache

import numpy as np
import pytest

from training.data.everyday_layout import Layout, Placed, draw_layout, ground_corners
from training.data.everyday_things import ROOM, SHORE, THEMES
from training.data.street_camera import turn

SIZE_HW = (240, 320)


@cache
def layouts() -> tuple[Layout, ...]:
    return tuple(draw_layout(np.random.default_rng(seed), SIZE_HW) for seed in range(300))


def on_ground(layout: Layout) -> list[Placed]:
    return [thing for thing in layout.things if not thing.kind.aloft and not thing.kind.on_wall]


def test_every_view_has_one_to_five_things_of_its_theme() -> None:
    for layout in layouts():
        assert 1 <= len(layout.things) <= 5
        assert layout.theme in THEMES
    assert {layout.theme for layout in layouts()} == set(THEMES)


def test_nothing_stands_in_another_thing_or_behind_the_wall() -> None:
    for layout in layouts():
        standing = on_ground(layout)
        for index, first in enumerate(standing):
            for second in standing[:index]:
                sides = zip(first.low, first.high, second.low, second.high, strict=True)
                assert any(a > d or c > b for a, b, c, d in sides)
            if layout.theme == ROOM:
                ends = (first.high[1] - x * np.tan(layout.slant) for x in (first.low[0], first.high[0]))
                assert max(ends) < layout.wall


def test_everything_is_before_the_lens_where_its_box_says() -> None:
    for layout in layouts():
        for thing in layout.things:
            pose = thing.pose
            world = thing.kind.thing.mesh.points @ turn(pose.heading).T + (pose.x, pose.y, pose.z)
            seen = layout.camera.to_camera(world)
            assert seen[:, 2].min() >= 0.7
            pixels = layout.camera.to_pixels(seen)
            assert thing.box_xyxy == pytest.approx((*pixels.min(axis=0), *pixels.max(axis=0)))
            assert (thing.low, thing.high) == ground_corners(thing.kind.thing, pose)


def test_a_third_of_each_thing_lies_in_the_frame() -> None:
    for left, top, right, bottom in (thing.box_xyxy for layout in layouts() for thing in layout.things):
        wide, high = min(right, SIZE_HW[1]) - max(left, 0), min(bottom, SIZE_HW[0]) - max(top, 0)
        assert wide > 0 and high > 0
        assert wide * high >= 0.33 * (right - left) * (bottom - top)


def test_boats_float_beyond_the_shore_and_people_stand_before_it() -> None:
    floating = standing = 0
    for layout in (layout for layout in layouts() if layout.theme == SHORE):
        for thing in on_ground(layout):
            floating += thing.kind.on_water
            standing += not thing.kind.on_water
            assert (thing.pose.y > layout.shore) == thing.kind.on_water
    assert floating > 5 and standing > 5


def test_clocks_of_rooms_hang_on_the_wall() -> None:
    hung = [(layout, thing) for layout in layouts() for thing in layout.things if thing.kind.on_wall]
    assert len(hung) > 5
    for layout, thing in hung:
        assert thing.pose.y == pytest.approx(layout.wall + thing.pose.x * np.tan(layout.slant))
        assert thing.pose.heading == pytest.approx(np.pi + layout.slant)


def test_vehicles_are_seen_from_all_sides() -> None:
    turns = [thing.kind.heading for layout in layouts() for thing in layout.things if thing.kind.name in ("car", "bus")]
    assert set(np.histogram(turns, 4, (0, 2 * np.pi))[0] > 0) == {True}
