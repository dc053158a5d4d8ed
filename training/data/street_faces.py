"""Which faces of an ensemble the camera sees, in painting order, and in which colours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import NEAR, Camera, Points
from training.data.street_ensemble import Ensemble, Indices
from training.data.street_light import Light
from training.data.street_mesh import LIT, ROUND, Mesh

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True)
class Faces:
    """Faces [f], mesh by mesh and each mesh's in painting order.

    ``owners`` is the index of each face's mesh (rising), ``starts`` its first point in the ensemble, ``sizes`` its
    number of points; ``colours`` [f, 3] RGB 0-255 with light and haze on them, ``flags`` the mesh's. ``depths`` holds
    the middle depth of each mesh in metres.
    """

    owners: Indices
    starts: Indices
    sizes: Indices
    colours: Points
    flags: Indices
    depths: list[float]

    def where(self, kept: NDArray[np.bool_]) -> "Faces":
        """Only some of them."""
        owners, starts, sizes = self.owners[kept], self.starts[kept], self.sizes[kept]
        return Faces(owners, starts, sizes, self.colours[kept], self.flags[kept], self.depths)


def visible_faces(ensemble: Ensemble, camera: Camera, light: Light, seen: Points) -> Faces:
    """The faces that look towards the camera; ``seen`` [p, 3] are the ensemble's points in camera axes."""
    meshes = ensemble.meshes
    belongs = np.repeat(np.arange(len(meshes)), [len(mesh.colours) for mesh in meshes])
    order = _painting_order(ensemble, camera, belongs)
    owners, flags = belongs[order], _all(meshes, lambda mesh: mesh.flags)[order]
    depths = _depths(ensemble, seen)
    air = [light.through_haze(depth) for depth in depths]
    clear, veil = np.array([share for share, _ in air]), np.array([colour for _, colour in air])
    return Faces(
        owners=owners,
        starts=_all(meshes, lambda mesh: mesh.starts[:-1])[order] + ensemble.firsts[owners],
        sizes=_all(meshes, lambda mesh: mesh.sizes)[order],
        colours=_shaded(ensemble, light, order, flags) * clear[owners][:, None] + veil[owners],
        flags=flags,
        depths=depths,
    )


def _all(meshes: tuple[Mesh, ...], part: Callable[[Mesh], NDArray[_Kind]]) -> NDArray[_Kind]:
    return np.concatenate([part(mesh) for mesh in meshes])


def _depths(ensemble: Ensemble, seen: Points) -> list[float]:
    """The middle depth of each mesh in metres."""
    depths = np.ascontiguousarray(seen[:, 2])
    return [max(NEAR, float(depths[rows].mean())) for rows in ensemble.spans()]


def _painting_order(ensemble: Ensemble, camera: Camera, belongs: Indices) -> Indices:
    """The faces that look towards the camera: mesh by mesh, part by part from layer 0 up and from far to near."""
    meshes = ensemble.meshes
    eyes = [(camera.position - place) @ turn for place, turn in zip(ensemble.places, ensemble.turns, strict=True)]
    towards = np.concatenate([mesh.normals @ eye for mesh, eye in zip(meshes, eyes, strict=True)])
    faces = np.flatnonzero(
        (towards > _all(meshes, lambda mesh: mesh.reaches)) | _all(meshes, lambda mesh: mesh.two_sided)
    )
    counts = [len(mesh.layers) for mesh in meshes]
    owners, first_parts = np.repeat(np.arange(len(meshes)), counts), np.cumsum([0, *counts])[:-1]
    distances = np.sum((_all(meshes, lambda mesh: mesh.centres) - np.array(eyes)[owners]) ** 2, axis=1)
    ranks = np.empty(len(distances), np.int64)
    ranks[np.lexsort((-distances, _all(meshes, lambda mesh: mesh.layers), owners))] = np.arange(len(distances))
    parts = _all(meshes, lambda mesh: mesh.parts)[faces] + first_parts[belongs[faces]]
    return faces[np.argsort(ranks[parts], kind="stable")]


def _shaded(ensemble: Ensemble, light: Light, faces: Indices, flags: Indices) -> Points:
    meshes = ensemble.meshes
    facing = np.concatenate(
        [mesh.normals @ (light.sun @ turn) for mesh, turn in zip(meshes, ensemble.turns, strict=True)]
    )
    factors = light.factors(_all(meshes, lambda mesh: mesh.normals[:, 2])[faces], facing[faces])
    factors[flags & ROUND > 0] = light.ambient + light.direct * 0.35
    factors[flags & LIT == 0] = light.ambient + light.direct * 0.3
    return np.minimum(_all(meshes, lambda mesh: mesh.colours)[faces] * factors, 255)
