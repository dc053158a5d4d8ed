"""Turned solids, slabs and moved meshes of everyday things."""

from math import pi

import numpy as np
import pytest

from training.data.everyday_solids import (
    along_x,
    along_y,
    globe,
    grounded,
    raised,
    regular,
    scaled,
    slab,
    tilted,
    turned,
    upright,
)
from training.data.street_mesh import Colour, Mesh, MeshBuilder

GREY: Colour = (100.0, 100.0, 100.0)


def cylinder() -> Mesh:
    builder = MeshBuilder()
    turned(builder, [(0.5, 0.0), (0.5, 2.0)], GREY, upright(0, 0, 0), 12)
    return builder.build()


def outward(mesh: Mesh) -> np.ndarray:
    """How far each face looks away from the inside of its part."""
    corners = mesh.points[mesh.starts[:-1]]
    return np.asarray(np.sum(mesh.normals * (corners - mesh.centres[mesh.parts]), axis=1))


def test_a_cylinder_has_a_round_side_and_two_ends() -> None:
    mesh = cylinder()
    assert len(mesh.colours) == 12 + 2
    assert np.hypot(mesh.points[:, 0], mesh.points[:, 1]) == pytest.approx(0.5)
    assert (outward(mesh) > 0).all()
    assert sorted(mesh.normals[-2:, 2].tolist()) == [-1.0, 1.0]


def test_a_point_needs_no_end() -> None:
    builder = MeshBuilder()
    turned(builder, [(0.0, 0.0), (0.5, 1.0), (0.0, 2.0)], GREY, upright(0, 0, 0), 10)
    mesh = builder.build()
    assert set(mesh.sizes.tolist()) == {3}
    assert (outward(mesh) > 0).all()


def test_rings_have_colours_of_their_own() -> None:
    builder = MeshBuilder()
    red: Colour = (200.0, 0.0, 0.0)
    turned(builder, [(0.5, 0.0), (0.5, 1.0), (0.5, 2.0)], [GREY, red], upright(0, 0, 0), 8)
    mesh = builder.build()
    high = np.array([mesh.points[a:b, 2].mean() > 1 for a, b in zip(mesh.starts[:-1], mesh.starts[1:], strict=True)])
    assert (mesh.colours[high] == red).all() and (mesh.colours[~high] == GREY).all()


def test_axes_run_up_ahead_and_to_the_left() -> None:
    for axis, place in enumerate((along_x(1, 2, 3), along_y(1, 2, 3), upright(1, 2, 3))):
        builder = MeshBuilder()
        turned(builder, [(0.1, 0.0), (0.1, 5.0)], GREY, place, 8)
        low, high = builder.build().low_high
        assert high[axis] - low[axis] == pytest.approx(5.0)
        assert low[axis] == pytest.approx(axis + 1)


def test_a_globe_is_round_and_coloured_by_place() -> None:
    builder = MeshBuilder()
    globe(builder, (0, 0, 1), (1, 1, 1), lambda _longitude, latitude: (latitude * 10 + 100, 0.0, 0.0))
    mesh = builder.build()
    assert np.linalg.norm(mesh.points - (0, 0, 1), axis=1) == pytest.approx(1.0)
    assert (outward(mesh) > 0).all()
    assert len(np.unique(mesh.colours[:, 0])) == 12


def test_a_slab_has_two_faces_and_its_edges() -> None:
    builder = MeshBuilder()
    outline = [(0.0, y, z) for y, z in regular((0, 1), 0.5, 8)]
    slab(builder, outline, (0.1, 0, 0), (GREY, GREY))
    mesh = builder.build()
    assert len(mesh.colours) == 8 + 2
    assert (outward(mesh) > 0).all()


def test_moved_meshes_keep_their_shape() -> None:
    mesh = cylinder()
    assert scaled(mesh, 3.0).low_high[1] - scaled(mesh, 3.0).low_high[0] == pytest.approx([3, 3, 6])
    assert raised(mesh, 1.5).low_high[0][2] == pytest.approx(1.5)
    lying = tilted(mesh, pi / 2, 0.0, 1.0)
    assert lying.low_high[1] - lying.low_high[0] == pytest.approx([2, 1, 1])
    assert (outward(lying) > 0).all()
    assert grounded(lying).low_high[0][2] == pytest.approx(0.0)


def test_nose_up_lifts_what_is_ahead() -> None:
    builder = MeshBuilder()
    turned(builder, [(0.1, 0.0), (0.1, 5.0)], GREY, along_x(0, 0, 0), 8)
    assert tilted(builder.build(), 0.5, 0.0).low_high[1][2] > 2.0
