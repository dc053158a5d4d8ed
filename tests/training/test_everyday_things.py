"""What everyday views show: shares of themes and classes, and the shape of each class in each theme."""

import numpy as np
import pytest

from scene.classes import EVERYDAY_CLASSES
from training.data.everyday_things import RIDDEN, ROOM, SKY, TABLE, THEMES, class_shares, draw_kind, theme_shares


def seen_in(name: str) -> list[str]:
    return [theme for theme in THEMES if class_shares(theme)[EVERYDAY_CLASSES.index(name)] > 0]


def test_shares_add_up_and_make_classes_equally_common() -> None:
    themes = theme_shares()
    assert sum(themes.values()) == pytest.approx(1.0)
    drawn = sum((themes[theme] * np.array(class_shares(theme)) for theme in THEMES), np.zeros(len(EVERYDAY_CLASSES)))
    assert drawn.sum() == pytest.approx(1.0)
    seen = drawn.copy()
    for name in ("bicycle", "motorcycle"):
        seen[EVERYDAY_CLASSES.index("person")] += RIDDEN * drawn[EVERYDAY_CLASSES.index(name)]
    assert seen == pytest.approx(np.full(len(EVERYDAY_CLASSES), seen[0]))


@pytest.mark.parametrize("name", EVERYDAY_CLASSES)
def test_each_class_has_a_solid_shape_of_its_size_wherever_it_is_seen(name: str) -> None:
    for theme in seen_in(name):
        for number in range(12):
            kind = draw_kind(name, theme, np.random.default_rng([number, 3]))
            low, high = kind.thing.mesh.low_high
            assert 0.05 < float((high - low).max()) < 45, (theme, number)
            assert np.isfinite(kind.thing.mesh.points).all()
            assert np.isfinite(kind.thing.mesh.normals).all()
            assert len(kind.thing.mesh.colours) >= 5
            if not kind.aloft and kind.thing.stand is None:
                assert -0.1 < low[2] < 0.35 or kind.on_wall, (theme, number)


@pytest.mark.parametrize("name", EVERYDAY_CLASSES)
def test_things_of_a_class_differ(name: str) -> None:
    theme = seen_in(name)[0]
    shapes = [draw_kind(name, theme, np.random.default_rng(number)).thing.mesh for number in range(6)]
    assert len({(mesh.points.tobytes(), mesh.colours.tobytes()) for mesh in shapes}) == 6


def test_only_cycles_are_ridden_and_never_where_nobody_may() -> None:
    for name in EVERYDAY_CLASSES:
        rng = np.random.default_rng(4)
        ridden = [draw_kind(name, seen_in(name)[0], rng).thing.rider is not None for _ in range(60)]
        assert any(ridden) == (name in ("bicycle", "motorcycle"))
        assert draw_kind(name, seen_in(name)[0], rng, alone=True).thing.rider is None


def test_signs_and_clocks_show_their_fronts() -> None:
    for name in ("traffic light", "stop sign", "clock"):
        for number in range(20):
            kind = draw_kind(name, seen_in(name)[0], np.random.default_rng(number))
            assert np.cos(kind.heading - np.pi) > 0.5


def test_what_flies_hangs_or_stands_on_other_things_depends_on_the_theme() -> None:
    rng = np.random.default_rng(0)
    assert draw_kind("airplane", SKY, rng).aloft
    assert draw_kind("clock", ROOM, rng).on_wall
    assert not draw_kind("clock", TABLE, rng).on_wall
    assert any(draw_kind("cup", ROOM, rng).raised for _ in range(20))
    assert not any(draw_kind("cup", TABLE, rng).raised for _ in range(20))
