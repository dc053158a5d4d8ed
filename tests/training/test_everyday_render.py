"""Rendered everyday views: whose pixels are whose, and what of the backdrop depends on the theme."""

from functools import cache

import numpy as np

from training.data.everyday_layout import Layout, draw_layout
from training.data.everyday_render import render_view
from training.data.everyday_things import THEMES
from training.data.street_painter import Painter

SIZE_HW = (180, 240)


@cache
def rendered() -> tuple[tuple[Layout, Painter], ...]:
    made = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        layout = draw_layout(rng, SIZE_HW)
        made.append((layout, render_view(layout, rng)))
    return tuple(made)


def test_only_the_labelled_own_pixels() -> None:
    for layout, painter in rendered():
        known = {2 * n + 1 for n in range(len(layout.things))}
        known |= {2 * n + 2 for n, thing in enumerate(layout.things) if thing.kind.thing.rider is not None}
        assert set(np.unique(painter.owners).tolist()) <= known | {0}


def test_things_are_seen_inside_the_boxes_that_the_layout_gives() -> None:
    for layout, painter in rendered():
        for index, thing in enumerate(layout.things):
            rows, columns = np.nonzero(painter.owners == 2 * index + 1)
            if len(rows):
                reach = 0.2 * max(thing.box_xyxy[2] - thing.box_xyxy[0], thing.box_xyxy[3] - thing.box_xyxy[1]) + 3
                assert columns.min() >= thing.box_xyxy[0] - reach and columns.max() <= thing.box_xyxy[2] + reach
                assert rows.min() >= thing.box_xyxy[1] - reach and rows.max() <= thing.box_xyxy[3] + reach


def test_nothing_is_left_black_and_no_backdrop_is_plain() -> None:
    for layout, painter in rendered():
        assert np.mean(painter.image.max(axis=2) == 0) < 0.02, layout.theme
        behind = painter.image[painter.owners == 0]
        assert behind.std(axis=0).max() > 4, layout.theme
    assert {layout.theme for layout, _ in rendered()} == set(THEMES)


def test_poles_and_cupboards_own_nothing() -> None:
    held = [(layout, painter) for layout, painter in rendered() if layout.things[0].kind.thing.stand is not None]
    assert held
    for layout, painter in held:
        own = painter.silhouettes.get(1)
        if own is not None:
            top, bottom = layout.things[0].box_xyxy[1], layout.things[0].box_xyxy[3]
            assert own[0].box_xyxy[3] <= bottom + 0.2 * (bottom - top) + 3
