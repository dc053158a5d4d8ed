"""A loaded model: an artifact's network with everything around it that turns a picture into named instances."""

import logging
import time
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene.artifact import Artifact, GoldenFrame, Precision, read_artifact
from scene.errors import ArtifactError, FrameError, UnknownModelError
from scene.image import RgbImage, as_rgb, decode_image, network_input
from scene.instances import Detections, Instance, instances_on_frame
from serve.answer import Answer, FoundInstance, MaskRegion, Options, StageClock
from serve.engines import ON_CPU, Engine, EngineName, Outputs, Way, named, open_engine, ways
from serve.engines.contract import first_line
from serve.golden import check_answer

LOG = logging.getLogger(__name__)

_ROUNDS = 5
"""Timed runs of each engine, of which the fastest is chosen."""


class Model:
    """An engine with its artifact: pictures in, answers out.

    ``engines`` has one for each frame, or batch, that is answered at a time. ``runs_on`` says which engine they are,
    and what they compute in; ``golden_ms`` how long one took for the golden frame.
    """

    def __init__(self, artifact: Artifact, engine: Engine, runs_on: str = "") -> None:
        self.artifact = artifact
        self.engines = [engine]
        self.runs_on = runs_on
        self.golden_ms = 0.0
        self._thresholds = np.array(artifact.thresholds, np.float32)

    @property
    def on_cpu(self) -> bool:
        """Whether the network runs where frames are decoded."""
        return named(self.runs_on)[0] in ON_CPU

    @property
    def engine(self) -> Engine:
        """The first engine, or the only one."""
        return self.engines[0]

    @classmethod
    def load(
        cls,
        folder: Path,
        threads: int = 1,
        precision: Precision | None = None,
        engine: EngineName | None = None,
        lanes: int = 1,
    ) -> "Model":
        """Load the artifact in a folder ``NAME/VERSION`` on the engine that answers its golden frame fastest.

        ``lanes`` engines of ``threads`` threads each answer at a time.
        ``engine`` and ``precision`` leave fewer ways to choose from; without a precision only such are taken as were
        verified, and of each engine the likely fastest that answers here as where it was exported: any other is left
        aside with a warning, as eight bits are on a processor whose eight-bit products saturate. Raises
        ``ArtifactError`` for a folder that is missing or damaged, or where no way is left, ``ConfigurationError`` for
        an engine that cannot run here.
        """
        artifact = read_artifact(folder)
        model: Model | None = None
        chosen: Way | None = None
        failures: list[ArtifactError] = []
        for _, same_engine in groupby(ways(artifact, engine, precision), key=lambda way: way.engine):
            for way in same_engine:
                try:
                    other = cls._loaded(folder, artifact, way, threads)
                except ArtifactError as error:
                    failures.append(error)
                    LOG.warning("%s is left aside: %s", way.name, error)
                    continue
                if model is None or other.golden_ms < model.golden_ms:
                    model, chosen = other, way
                break
        if model is None or chosen is None:
            raise failures[0]
        for _ in range(lanes - 1):
            model.engines += cls._loaded(folder, artifact, chosen, threads).engines
        LOG.info("%s version %d runs on %s", artifact.name, artifact.version, model.runs_on)
        return model

    @classmethod
    def _loaded(cls, folder: Path, artifact: Artifact, way: Way, threads: int) -> "Model":
        """Raises ``ArtifactError`` where the way answers the golden frame otherwise than where it was exported."""
        model = cls(artifact, open_engine(folder, artifact, way, threads), way.name)
        model.golden_ms = model._check_golden(folder, way)
        LOG.info("%s answers the golden frame in %.1f ms", way.name, model.golden_ms)
        return model

    def warm_up(self, batch: int) -> None:
        """Run every engine once on a full batch, as some make up their memory and kernels at the first; the golden
        frame was a batch of one. Raises ``ArtifactError`` where it fails."""
        images = np.zeros((batch, *self.artifact.size_hw, 3), np.uint8)
        for engine in self.engines if batch > 1 else ():
            try:
                engine.run(images, self.least_score(Options()))
            except ArtifactError:
                raise
            except Exception as error:  # engines' own exceptions share no nearer root
                raise ArtifactError(
                    f"{self.artifact.name} version {self.artifact.version} fails on a batch of {batch}: "
                    f"{first_line(error)}; lower max_batch or export it again"
                ) from error

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

    def _check_golden(self, folder: Path, way: Way) -> float:
        """Check the answer, which warms the engine up as well; the milliseconds of the fastest of some more runs, asked
        as a stream's frames are."""
        golden = self.artifact.golden_of(way.file.path, way.engine, way.precision)
        batch = network_input(_golden_picture(folder, golden), self.artifact.size_hw)[None]
        try:
            check_answer(self.artifact, golden, detections(self.engine.run(batch)), folder, way.precision)
            return min(self._timed_ms(batch) for _ in range(_ROUNDS))
        except ArtifactError:
            raise
        except Exception as error:  # engines' own exceptions share no nearer root
            raise ArtifactError(
                f"the model in {folder} fails on its golden frame: {first_line(error)}; export it again"
            ) from error

    def _timed_ms(self, batch: NDArray[np.uint8]) -> float:
        started_s = time.perf_counter()
        self.engine.run(batch, self.least_score(Options()))
        return (time.perf_counter() - started_s) * 1000


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
