"""Renders an everyday view: the backdrop with shadows, then things and clutter from far to near."""

from dataclasses import dataclass

import numpy as np

from training.data.everyday_backdrop import draw_everyday_light, paint_backdrop
from training.data.everyday_clutter import clutter, support
from training.data.everyday_layout import Layout, Placed, ground_corners
from training.data.everyday_solids import Thing, raised, scaled
from training.data.everyday_things import LAWN, SKY, STREET
from training.data.street_camera import turn
from training.data.street_ensemble import Ensemble, Pose
from training.data.street_mesh import Mesh
from training.data.street_outlines import Bytes
from training.data.street_painter import Painter
from training.data.street_render import painting_order
from training.data.street_shadows import Shadows
from training.data.street_textures import TREES, tree

Corner = tuple[float, float]


@dataclass(frozen=True)
class _Body:
    """Shapes with their owners in painting order, between their corners on the ground; ``aloft`` casts no shadow."""

    pose: Pose
    low: Corner
    high: Corner
    shapes: list[tuple[Mesh, int]]
    aloft: bool = False


@dataclass(frozen=True)
class _Tree:
    pose: Pose
    picture: Bytes
    height: float


def render_view(layout: Layout, rng: np.random.Generator) -> Painter:
    """The clean picture with everybody's pixels: thing n owns 2 n + 1, who rides it 2 n + 2."""
    camera, theme = layout.camera, layout.theme
    light = draw_everyday_light(theme, layout.unit, rng)
    painter = Painter(np.zeros((*camera.size_hw, 3), np.uint8), camera, light)
    bodies = [_body(placed, index, layout, rng) for index, placed in enumerate(layout.things)]
    bodies += _strewn(layout, rng) if theme != SKY else []
    trees = _trees(layout, rng)
    shadows = Shadows(camera, light)
    cast = [(mesh, body.pose) for body in bodies if not body.aloft for mesh, _ in body.shapes]
    shadows.meshes(Ensemble([mesh for mesh, _ in cast], [pose for _, pose in cast]))
    paint_backdrop(painter, layout, light, shadows.left(), int(rng.integers(1 << 30)))
    _paint(painter, bodies, trees, rng)
    return painter


def _paint(painter: Painter, bodies: list[_Body], trees: list[_Tree], rng: np.random.Generator) -> None:
    ensemble = Ensemble([mesh for body in bodies for mesh, _ in body.shapes],
                        [body.pose for body in bodies for _ in body.shapes])  # fmt: skip
    outlines = iter(painter.project(ensemble))
    shown = [[(next(outlines), owner) for _, owner in body.shapes] for body in bodies]
    lows = np.array([body.low for body in bodies] + [(t.pose.x - 0.3, t.pose.y - 0.3) for t in trees]).reshape(-1, 2)
    highs = np.array([body.high for body in bodies] + [(t.pose.x + 0.3, t.pose.y + 0.3) for t in trees]).reshape(-1, 2)
    grain = rng.integers(0, 1000, len(lows)).tolist()
    for index in painting_order(lows, highs, painter.camera.position[:2]):
        if index >= len(bodies):
            made = trees[index - len(bodies)]
            painter.sprite(made.picture, made.pose, made.height)
            continue
        for shape, owner in shown[index]:
            if shape is not None:
                painter.outlines(shape, owner, grain[index])


def _body(placed: Placed, index: int, layout: Layout, rng: np.random.Generator) -> _Body:
    thing, pose, eye = placed.kind.thing, placed.pose, layout.camera.position
    ahead = turn(pose.heading)[:2, 0]
    comes = float((eye[:2] - (pose.x, pose.y)) @ ahead) > 0
    shapes = [(thing.mesh, 2 * index + 1)]
    if thing.stand is not None:
        shapes.insert(0 if comes else 1, (thing.stand, 0))
    if thing.rider is not None:
        straight = float((eye[:2] - (pose.x, pose.y)) @ ahead) > 0.75 * float(np.hypot(*(eye[:2] - (pose.x, pose.y))))
        shapes.insert(0 if straight else 1, (thing.rider, 2 * index + 2))
    if placed.kind.raised:
        low, high = thing.mesh.low_high
        reach = float(max(high[0], high[1], -low[0], -low[1])) / layout.unit
        held = scaled(support(layout.theme, reach, pose.z / layout.unit, rng), layout.unit)
        shapes = [(raised(held, -pose.z), 0), *shapes]
    aloft = placed.kind.aloft or placed.kind.on_wall
    return _Body(pose, placed.low, placed.high, shapes, aloft)


def _strewn(layout: Layout, rng: np.random.Generator) -> list[_Body]:
    """Things of no class, where they run into nothing and hide little."""
    bodies: list[_Body] = []
    camera, unit = layout.camera, layout.unit
    for _ in range(int(rng.integers(0, 8))):
        mesh = scaled(clutter(layout.theme, rng), unit)
        nearest = min((thing.low[1] for thing in layout.things), default=2.0 * unit)
        y = rng.uniform(max(0.7 * nearest, 1.2), max(layout.wall, nearest + 0.2 * unit))
        x = rng.uniform(-0.6, 0.6) * camera.size_hw[1] / camera.focal * y
        pose = Pose(float(x), float(y), float(rng.uniform(0, 2 * np.pi)))
        low, high = ground_corners(Thing(mesh), pose)
        taken = [(thing.low, thing.high) for thing in layout.things if not thing.kind.aloft]
        taken += [(body.low, body.high) for body in bodies]
        if not any(_meet((low, high), other) for other in taken) and _harmless(mesh, pose, layout):
            bodies.append(_Body(pose, low, high, [(mesh, 0)]))
    return bodies


def _meet(first: tuple[Corner, Corner], second: tuple[Corner, Corner]) -> bool:
    sides = zip(first[0], first[1], second[0], second[1], strict=True)
    return all(a0 < b1 and b0 < a1 for a0, a1, b0, b1 in sides)


def _harmless(mesh: Mesh, pose: Pose, layout: Layout) -> bool:
    """Whether it is before the lens and the wall, on its side of the shore, and hides under a third of each thing."""
    seen = layout.camera.to_camera(mesh.points @ turn(pose.heading).T + (pose.x, pose.y, pose.z))
    if seen[:, 2].min() < 0.8:
        return False
    wide = float(np.hypot(*mesh.points[:, :2].T).max())
    if pose.y + wide - pose.x * np.tan(layout.slant) > layout.wall and layout.theme != LAWN:
        return False
    (left, top), (right, bottom) = (f(layout.camera.to_pixels(seen), axis=0).tolist() for f in (np.min, np.max))
    for thing in layout.things:
        x0, y0, x1, y1 = thing.box_xyxy
        shared = max(0.0, min(right, x1) - max(left, x0)) * max(0.0, min(bottom, y1) - max(top, y0))
        if pose.y < thing.pose.y and shared > 0.3 * (x1 - x0) * (y1 - y0):
            return False
    return True


def _trees(layout: Layout, rng: np.random.Generator) -> list[_Tree]:
    if layout.theme not in (LAWN, STREET, SKY) or rng.random() < 0.25:
        return []
    unit, camera, trees = layout.unit, layout.camera, list[_Tree]()
    last = max((thing.high[1] for thing in layout.things if not thing.kind.aloft), default=8.0 * unit)
    for _ in range(int(rng.integers(1, 7))):
        y = last + rng.uniform(1.5, 30.0) * unit
        if layout.theme == STREET:
            y = min(y, layout.wall - 0.4 * unit)
        x = rng.uniform(-0.7, 0.7) * camera.size_hw[1] / camera.focal * y
        if y > last:
            pose = Pose(float(x), float(y), 0.0)
            trees.append(_Tree(pose, tree(int(rng.integers(TREES))), float(rng.uniform(3, 9) * unit)))
    return trees
