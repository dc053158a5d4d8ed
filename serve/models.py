"""A loaded model: an artifact's network with everything around it that turns a picture into named instances."""

import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene.artifact import Artifact, GoldenFrame, GraphPrecision, ModelFile, read_artifact
from scene.errors import ArtifactError, FrameError, UnknownModelError
from scene.image import RgbImage, as_rgb, decode_image, network_input
from scene.instances import Detections, Instance, instances_on_frame
from serve.answer import Answer, FoundInstance, MaskRegion, Options, StageClock
from serve.engines import Engine, Outputs, open_engine, runnable
from serve.golden import check_answer

LOG = logging.getLogger(__name__)


class Model:
    """An engine with its artifact: pictures in, answers out. ``precision`` is what its convolutions compute in."""

    def __init__(self, artifact: Artifact, engine: Engine, precision: str = "float32") -> None:
        self.artifact = artifact
        self.engine = engine
        self.precision = precision
        self._thresholds = np.array(artifact.thresholds, np.float32)

    @classmethod
    def load(cls, folder: Path, threads: int = 1, precision: GraphPrecision | None = None) -> "Model":
        """Load the artifact in a folder ``NAME/VERSION`` and hold its answer to the golden frame against its own.

        Without a ``precision`` the first of its files that answers as it should is taken: a processor without
        eight-bit multiplication that is exact answers otherwise in int8, and runs the float32 file. Raises
        ``ArtifactError`` for a folder that is missing, damaged or answers otherwise than when it was exported.
        """
        artifact = read_artifact(folder)
        *preferred, last = runnable(artifact, precision)
        for entry in preferred:
            try:
                return cls._load_file(folder, artifact, entry, threads)
            except ArtifactError as error:
                LOG.warning("%s is left aside for the next file of its model: %s", folder / entry.path, error)
        return cls._load_file(folder, artifact, last, threads)

    @classmethod
    def _load_file(cls, folder: Path, artifact: Artifact, entry: ModelFile, threads: int) -> "Model":
        model = cls(artifact, open_engine(folder, artifact, entry, threads), entry.precision)
        model._check_golden(folder, entry.golden or artifact.golden)
        return model

    def require(self, options: Options) -> None:
        """Raise ``UnknownModelError`` if the options ask for another model."""
        if options.model_name not in ("", self.artifact.name):
            raise UnknownModelError(
                "model_name", f"expected {self.artifact.name} or nothing, but {options.model_name!r} came"
            )

    def segment(self, image: RgbImage, options: Options | None = None) -> Answer:
        """Find the instances of a picture, uint8 [H, W, 3] RGB, in the calling thread.

        Grey pictures and such with an alpha channel are taken, too (``as_rgb``); ``FrameError`` for any other.
        """
        options = options or Options()
        self.require(options)
        clock = StageClock(time.perf_counter())
        image = as_rgb(image)
        batch = self.prepare(image, clock)
        with clock.stage("network"):
            outputs = self.engine.run(batch, self.least_score(options))
        return self.finish(outputs, _size_hw(image), options, clock)

    def least_score(self, options: Options) -> float:
        """What an engine need not look at: the largest score that lies below every threshold."""
        return float(np.nextafter(self._thresholds_for(options).min(), np.float32(-1)))

    def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
        """The network's input for one picture: uint8 [1, H, W, 3]."""
        with clock.stage("prepare"):
            return network_input(image, self.artifact.size_hw)[None]

    def finish(self, outputs: Outputs, size_hw: tuple[int, int], options: Options, clock: StageClock) -> Answer:
        """Lay the outputs for one picture onto its (height, width) and name what they show."""
        wanted = self._wanted(detections(outputs), options)
        with clock.stage("paste"):
            instances = list(instances_on_frame(wanted, size_hw))
        with clock.stage("encode"):
            found = tuple(self._found(instance, options) for instance in instances)
        return Answer(self.artifact.name, self.artifact.version, size_hw, found, clock.times())

    def _wanted(self, rows: Detections, options: Options) -> Detections:
        kept = rows.above(self._thresholds_for(options))
        return kept if options.max_instances is None else kept.first(options.max_instances)

    def _thresholds_for(self, options: Options) -> NDArray[np.float32]:
        """One a class: what the call asks for, or the artifact's own."""
        if options.score_threshold is None:
            return self._thresholds
        return np.full_like(self._thresholds, options.score_threshold)

    def _found(self, instance: Instance, options: Options) -> FoundInstance:
        return FoundInstance(
            class_index=instance.class_index,
            class_name=self.artifact.class_names[instance.class_index],
            score=instance.score,
            mask_score=instance.mask_score,
            box_xyxy=instance.box_xyxy,
            mask=MaskRegion.of(instance) if options.include_masks else None,
        )

    def _check_golden(self, folder: Path, golden: GoldenFrame) -> None:
        """The first run, so it warms the engine up as well."""
        image = _golden_picture(folder, golden)
        try:
            rows = detections(self.engine.run(network_input(image, self.artifact.size_hw)[None]))
        except Exception as error:  # engines' own exceptions share no nearer root
            raise ArtifactError(f"the model in {folder} fails on its golden frame; export it again") from error
        check_answer(self.artifact, golden, rows, folder)


def detections(outputs: Outputs, index: int = 0) -> Detections:
    """One frame's rows of a batch, without the padding."""
    count = int(outputs.num[index])
    return Detections(
        boxes_xyxy=outputs.boxes[index, :count],
        scores=outputs.scores[index, :count],
        mask_scores=outputs.mask_scores[index, :count],
        classes=outputs.classes[index, :count],
        masks=outputs.masks[index, :count],
    )


def _golden_picture(folder: Path, golden: GoldenFrame) -> RgbImage:
    path = folder / golden.path
    try:
        return decode_image(path.read_bytes())
    except (OSError, FrameError) as error:
        raise ArtifactError(f"the golden frame {path} is missing or damaged; fetch the folder again") from error


def _size_hw(image: RgbImage) -> tuple[int, int]:
    height, width = image.shape[:2]
    return height, width
