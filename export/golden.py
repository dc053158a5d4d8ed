"""The golden frame of an artifact: a generated street, and what an engine answers to it."""

from pathlib import Path

import cv2

from scene.artifact import Artifact, GoldenFrame
from scene.errors import DataError
from scene.image import decode_image, network_input
from scene.instances import MASK_CUT
from serve.engines import Engine
from serve.golden import NOISE_SCORE
from serve.model import detections
from training.data.synthetic import SceneSettings, scene

GOLDEN_FILE = "golden.png"

_SEED = 800_000


def write_golden(artifact: Artifact, folder: Path) -> None:
    """Write a generated scene at the network's size into the folder."""
    picture = network_input(scene(_SEED, SceneSettings(height=512, width=1024)).image, artifact.size_hw)
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        raise DataError(f"a picture of {artifact.size_hw} (height, width) cannot be written as a PNG")
    (folder / GOLDEN_FILE).write_bytes(data.tobytes())


def golden_answer(engine: Engine, folder: Path) -> GoldenFrame:
    """What the engine answers to the folder's golden frame, without the noise, which nobody compares."""
    picture = decode_image((folder / GOLDEN_FILE).read_bytes())
    rows = detections(engine.run(picture[None], score_threshold=NOISE_SCORE))
    rows = rows.first(int((rows.scores > NOISE_SCORE).sum()))
    return GoldenFrame(
        path=GOLDEN_FILE,
        classes=rows.classes.tolist(),
        scores=[round(float(score), 5) for score in rows.scores],
        boxes_xyxy=[[round(float(side), 5) for side in box] for box in rows.boxes_xyxy],
        mask_pixels=(rows.masks >= MASK_CUT).sum(axis=(1, 2)).astype(int).tolist(),
    )
