"""The meshes of one street where they stand, laid end to end, so that each step is one operation for all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.data.street_camera import Points, turn
from training.data.street_mesh import Mesh

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Pose:
    """Where an object stands: metres on the ground, heading in radians (0 looks along +y)."""

    x: float
    y: float
    heading: float
    z: float = 0.0


class Ensemble:
    """``meshes`` at ``poses``: ``turns`` [m, 3, 3] are the object axes in the world, ``places`` [m, 3] metres.

    Mesh m owns points ``firsts[m]:firsts[m + 1]``.
    """

    def __init__(self, meshes: Sequence[Mesh], poses: Sequence[Pose]) -> None:
        self.meshes = tuple(meshes)
        self.turns = np.array([turn(pose.heading) for pose in poses]).reshape(-1, 3, 3)
        self.places = np.array([(pose.x, pose.y, pose.z) for pose in poses]).reshape(-1, 3)
        self.counts = np.array([len(mesh.points) for mesh in meshes], np.int64)
        self.firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])

    def __len__(self) -> int:
        return len(self.meshes)

    def spans(self) -> Iterator[slice]:
        """The rows of each mesh's points."""
        firsts = self.firsts.tolist()
        return map(slice, firsts[:-1], firsts[1:])

    @cached_property
    def turned(self) -> Points:
        """All points [p, 3] in world axes, each seen from its object's own place."""
        turned = np.empty((int(self.firsts[-1]), 3))
        for mesh, rotation, rows in zip(self.meshes, self.turns, self.spans(), strict=True):
            np.matmul(mesh.points, rotation.T, out=turned[rows])
        return turned

    @cached_property
    def radii(self) -> Points:
        """All points' radii [p] in metres."""
        return np.concatenate([mesh.radii for mesh in self.meshes])

    @cached_property
    def owners(self) -> Indices:
        """The index [p] of the mesh that each point belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def feet(self) -> Points:
        """Corners [m, 4, 2] of each mesh's upright box on the ground in object axes, around it from low x and y on."""
        lows = np.array([mesh.low_high[0] for mesh in self.meshes]).reshape(-1, 3)
        highs = np.array([mesh.low_high[1] for mesh in self.meshes]).reshape(-1, 3)
        around = [(lows, lows), (highs, lows), (highs, highs), (lows, highs)]
        return np.stack([np.column_stack([x[:, 0], y[:, 1]]) for x, y in around], axis=1)

    def on_ground(self, corners: Points) -> Points:
        """Corners [m, k, 2] in object axes to world metres."""
        turned: Points = np.matmul(corners, self.turns[:, :2, :2].transpose(0, 2, 1))
        turned += self.places[:, None, :2]
        return turned
