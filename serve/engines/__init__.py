"""What runs the network: arrays in, arrays out. Every engine keeps the graph contract and knows no labels."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scene.artifact import Artifact, GraphPrecision, ModelFile
from scene.errors import ArtifactError


class Outputs(NamedTuple):
    """The graph's six outputs for B frames and K rows; rows from ``num`` on are zero.

    ``num`` int32 [B]; ``boxes`` float32 [B, K, 4], xyxy in [0, 1] of the frame; ``scores`` and ``mask_scores``
    float32 [B, K] in [0, 1], rows by falling score; ``classes`` int32 [B, K] from 0; ``masks`` uint8 [B, K, h, w],
    255 x probability.
    """

    num: NDArray[np.int32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    mask_scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    masks: NDArray[np.uint8]


class Engine(Protocol):
    """A loaded network. Called from one thread at a time; blocks until the answer is there."""

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size.

        Whoever asks needs no row that scores ``score_threshold`` or less; an engine may leave such rows out, to be done
        sooner, and does not touch the others.
        """
        ...


def runnable(artifact: Artifact, precision: GraphPrecision | None = None) -> list[ModelFile]:
    """The artifact's files that an engine of this installation runs, of one precision or of any, the preferred first.

    Raises ``ArtifactError`` where there is none.
    """
    found = [entry for entry in artifact.files if entry.engine == "onnx"]
    wanted = [entry for entry in found if precision in (None, entry.precision)]
    if wanted:
        return wanted
    engines = ", ".join(sorted({f"{entry.engine} {entry.precision}" for entry in artifact.files}))
    how = "" if precision is None else f" in {precision}"
    raise ArtifactError(
        f"{artifact.name} version {artifact.version} has no file that this server runs: expected one for the engine "
        f"onnx{how}, found {engines}; export the checkpoint again{' with --int8' if precision == 'int8' else ''}"
    )


def open_engine(folder: Path, artifact: Artifact, entry: ModelFile, threads: int) -> Engine:
    """Load one of the artifact's runnable files, on so many threads of the CPU."""
    from serve.engines.onnx_engine import OnnxEngine  # noqa: PLC0415 - a client's installation has no engine

    return OnnxEngine(folder / entry.path, artifact.tensors, threads)
