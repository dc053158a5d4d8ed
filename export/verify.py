"""Whether every engine and precision that an artifact can run in here answers as torch's deployed graph does."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from export.agreement import Agreement, compare_detections, summarise
from export.golden import golden_answer
from export.graph import deployed
from export.limits import LIMITS, ApPair, LabelledAp, judge
from export.material import Material, PictureSet, picture_sets, scored_set
from export.parity import COMPARED, Parity, compare_drawn, total
from export.predictor import EnginePredictor, Predictor
from model.detect import DetectSettings
from model.segmenter import TorchPredictor
from model.yolact import Yolact
from scene.artifact import Artifact, GoldenFrame, ModelFile, Verification
from scene.disk import writing
from scene.errors import ArtifactError, ConfigurationError, ForeignPlanError, StreetMaskError
from scene.image import RgbImage
from scene.instances import Detections
from serve.engines import EngineName, Way, all_ways, open_engine, why_not_here
from serve.engines.contract import first_line
from training.checkpoint import load_network
from training.evaluate import Evaluation, score_predictions
from training.predictions import predictions_by_picture, together

SMALL_SCENES, LARGE_SCENES = 50, 6
"""Scenes on which a small network is verified, and a large one, of which torch answers one a second on two cores."""

_SMALL = 10_000_000
"""Parameters of a small network."""

_CPU_REMARK = "computed on the CPU, which widens every number of float16; a GPU rounds otherwise"


@dataclass(frozen=True)
class Subject:
    """What is verified: how it runs here, and what its record says ran, which is another thing where a plan's graph
    stands in for it."""

    runs: Way
    recorded: Way
    remark: str = ""


@dataclass(frozen=True)
class Report:
    """What ``verify`` found. ``scored_on`` names the set of the AP figures, empty without labels, and
    ``scored_pictures`` says how many pictures of it; ``absent`` says of each way that cannot run here why."""

    verified: list[Verification]
    absent: dict[str, str] = field(default_factory=dict)
    scored_on: str = ""
    scored_pictures: int = 0

    @property
    def beyond(self) -> list[str]:
        """Every broken limit, with the file and the engine that broke it."""
        return [sentence for each in self.verified for sentence in _broken(each)]

    @property
    def forbidding(self) -> list[str]:
        """Those of them that forbid to publish a file. bfloat16 is not a file's precision but an engine's, which nobody
        asked for: where it breaks a limit, no server takes it, and the file is as good as before."""
        return [sentence for each in self.verified if each.precision != "bfloat16" for sentence in _broken(each)]


def _broken(record: Verification) -> list[str]:
    return [f"{record.file} on {record.engine} in {record.precision}: {sentence}" for sentence in record.beyond]


def verify(
    folder: Path,
    artifact: Artifact,
    material: Material,
    engines: Sequence[EngineName] = (),
    threads: int = 2,
    say: Callable[[str], None] = print,
    stand_ins: Sequence[Subject] = (),
) -> Report:
    """Ask torch and every file, engine and precision that runs here about the same pictures.

    Torch answers from the folder's own ``checkpoint.pt``, not from a graph. ``engines`` leave fewer ways, all without
    them; ``stand_ins`` are verified beside the artifact's own. Nothing in the folder is changed. Raises
    ``ArtifactError`` for a folder without its checkpoint, ``ConfigurationError`` where nothing runs here, ``DataError``
    for pictures that cannot be read; what breaks a limit is in the report.
    """
    subjects, absent = subjects_here(artifact, engines)
    if not subjects and not stand_ins:
        raise ConfigurationError("engines", f"expected one that can run here, but none can: {_reasons(absent)}")
    with TemporaryDirectory(prefix="streetmask-verify-") as scratch, writing(Path(scratch)):
        reference = _Reference.ask(folder, artifact, material, Path(scratch), say)
        verified, done = list[Verification](), list[Way]()
        for subject in (*subjects, *stand_ins):
            if subject.recorded in done:
                continue
            say(f"verifying {subject.recorded.file.path} on {subject.recorded.name}")
            found = _verified(subject, folder, artifact, reference, threads)
            if isinstance(found, str):
                absent[_label(subject.recorded)] = found
            else:
                done.append(subject.recorded)
                verified.append(found)
    scored = reference.scored
    return Report(verified, absent, scored.name if scored else "", len(scored.pictures) if scored else 0)


def subjects_here(artifact: Artifact, engines: Sequence[EngineName] = ()) -> tuple[list[Subject], dict[str, str]]:
    """What can be verified here, float32 first, and of all other ways why not. A float16 graph runs on the CPU, too."""
    ways = [way for way in all_ways(artifact) if not engines or way.engine in engines]
    ways.sort(key=lambda way: (list(LIMITS).index(way.precision), way.engine != "onnxruntime"))
    absent = {_label(way): why_not_here(way) for way in ways}
    here = [Subject(way, way) for way in ways if not absent[_label(way)]]
    graphs = [file for file in artifact.files if (file.engine, file.precision) == ("onnx", "float16")]
    if not engines or "onnxruntime" in engines:
        here += [Subject(way, way, _CPU_REMARK) for way in (Way("onnxruntime", "float16", file) for file in graphs)]
    return here, {way: reason for way, reason in absent.items() if reason}


def _reasons(absent: Mapping[str, str]) -> str:
    return "; ".join(f"{way}: {reason}" for way, reason in absent.items()) or "the artifact has no file for them"


def stand_in(graph: str, plan: ModelFile, engine: EngineName) -> Subject:
    """The graph in the folder that a plan was built from, for a plan that cannot run on this machine."""
    runs = Way("onnxruntime", plan.precision, ModelFile(graph, "onnx", plan.precision, ""))
    remark = "ONNX Runtime computed the graph that the plan was built from, on the CPU: the plan cannot run here"
    return Subject(runs, Way(engine, plan.precision, plan), remark)


@dataclass(frozen=True)
class _Reference:
    """Torch's answers to every picture, kept on the disk: only one network is held in memory at a time."""

    sets: list[PictureSet]
    scored: PictureSet | None
    evaluation: Evaluation | None
    settings: DetectSettings
    answers: Path

    @classmethod
    def ask(
        cls, folder: Path, artifact: Artifact, material: Material, scratch: Path, say: Callable[[str], None]
    ) -> "_Reference":
        """Go through all pictures once."""
        network, settings = _own_network(folder, artifact), detect_settings(artifact)
        small = sum(parameter.numel() for parameter in network.parameters()) < _SMALL
        scenes = SMALL_SCENES if small else LARGE_SCENES
        sets = picture_sets(material, tuple(artifact.class_names), scenes, scratch)
        say(f"asking torch about {_count(sets)} pictures")
        numbers = iter(range(_count(sets)))

        def keep(_: PictureSet, found: Detections) -> None:
            np.savez_compressed(scratch / f"{next(numbers)}.npz", **found.__dict__)

        scored = scored_set(sets)
        evaluation = _go_through(sets, scored, TorchPredictor(deployed(network, settings)), keep)
        return cls(sets, scored, evaluation, settings, scratch)

    def kept(self) -> Iterator[Detections]:
        """The answers in the order of the pictures."""
        for number in range(_count(self.sets)):
            with np.load(self.answers / f"{number}.npz") as rows:
                yield Detections(**rows)


def _count(sets: Sequence[PictureSet]) -> int:
    return sum(len(each.pictures) for each in sets)


def _own_network(folder: Path, artifact: Artifact) -> Yolact:
    """The network of the folder's checkpoint; ``ArtifactError`` unless it is the manifest's."""
    checkpoint = folder / "checkpoint.pt"
    if not checkpoint.is_file():
        raise ArtifactError(f"{checkpoint} is missing, which torch would answer from; export the checkpoint again")
    network = load_network(checkpoint)
    own, named = list(network.config.class_names), artifact.class_names
    if own != named:
        raise ArtifactError(
            f"{checkpoint} knows {len(own)} classes, {', '.join(own)}, but the manifest names {len(named)}, "
            f"{', '.join(named)}; export the checkpoint again"
        )
    return network


def detect_settings(artifact: Artifact) -> DetectSettings:
    """How the artifact's graph suppresses: its number of rows tells, as no two kinds of suppression share one."""
    kinds = (DetectSettings(nms="fast"), DetectSettings(nms="cross-class"))
    settings = next((each for each in kinds if each.rows == artifact.max_detections), None)
    if settings is None:
        raise ArtifactError(
            f"{artifact.name} version {artifact.version} has {artifact.max_detections} rows, "
            f"expected {' or '.join(str(each.rows) for each in kinds)}; export the checkpoint again"
        )
    return settings


def _label(way: Way) -> str:
    return f"{way.file.path} on {way.name}"


def _verified(
    subject: Subject, folder: Path, artifact: Artifact, reference: _Reference, threads: int
) -> Verification | str:
    """One record. What cannot be loaded or run has no figures, and that sentence as the limit that it breaks; of a plan
    for another GPU, the sentence alone."""
    try:
        with _failing(subject.runs):
            engine = open_engine(folder, artifact, subject.runs, threads)
            golden = golden_answer(engine, folder)
            predict = EnginePredictor(engine, artifact.size_hw)
            compared = _compared(subject.runs, predict, artifact, reference)
    except ForeignPlanError as error:
        return str(error)
    except ArtifactError as error:
        return replace(_record_of(subject), beyond=[str(error)], judged=False)
    return _record(subject, golden, *compared, reference)


def _record_of(subject: Subject) -> Verification:
    recorded = subject.recorded
    remarks = [subject.remark] if subject.remark else []
    return Verification(recorded.file.path, recorded.engine, recorded.precision, {}, remarks=remarks)


def _record(
    subject: Subject,
    golden: GoldenFrame,
    parity: Parity,
    agreement: Agreement | None,
    evaluation: Evaluation | None,
    reference: _Reference,
) -> Verification:
    """What was compared, and what came of holding it against the precision's limits."""
    accuracy = _both(reference.evaluation, evaluation)
    verdict, blank = judge(subject.recorded.precision, parity, accuracy), _record_of(subject)
    figures, complaint = figures_of(parity, accuracy), ""
    if agreement is not None:
        figures |= {name: float(value) for name, value in asdict(agreement).items() if name != "pictures"}
        complaint = agreement.complaint()
    return replace(
        blank,
        figures=figures,
        golden=golden,
        remarks=[*blank.remarks, *verdict.remarks],
        beyond=[*verdict.beyond, *filter(None, [complaint])],
        judged=verdict.judged > 0,
    )


@contextmanager
def _failing(way: Way) -> Iterator[None]:
    """What an engine raises while it runs, as an ``ArtifactError``: those of ONNX Runtime share no class of their own.

    A picture that cannot be read and a full disk are not the engine's.
    """
    try:
        yield
    except (OSError, StreetMaskError):
        raise
    except Exception as error:
        raise ArtifactError(f"{way.file.path} fails on {way.name}: {first_line(error)}") from error


def _compared(
    way: Way, predict: Predictor, artifact: Artifact, reference: _Reference
) -> tuple[Parity, Agreement | None, Evaluation | None]:
    """Go through all pictures once more, each answer held against torch's: the drawn instances of all, and of the
    float32 graph on ONNX Runtime every row of the generated scenes."""
    thresholds = np.array(artifact.thresholds, np.float32)
    tolerance = LIMITS[way.precision].score_tolerance
    strict = (way.engine, way.precision) == ("onnxruntime", "float32")
    expected, parts, agreements = reference.kept(), list[Parity](), list[Agreement]()

    def hold(pictures: PictureSet, found: Detections) -> None:
        ours = next(expected)
        parts.append(compare_drawn(ours, found, thresholds, tolerance))
        if strict and pictures.generated:
            agreements.append(compare_detections(ours, found, reference.settings))

    evaluation = _go_through(reference.sets, reference.scored, predict, hold)
    return total(parts), summarise(agreements) if agreements else None, evaluation


def _go_through(
    sets: Sequence[PictureSet],
    scored: PictureSet | None,
    predict: Predictor,
    seen: Callable[[PictureSet, Detections], None],
) -> Evaluation | None:
    """Every picture of every set, one after the other; what is found on the scored set is evaluated."""
    evaluation = None
    for pictures in sets:

        def watched(frames: list[RgbImage], pictures: PictureSet = pictures) -> list[Detections]:
            found = predict(frames)
            for each in found:
                seen(pictures, each)
            return found

        if pictures is scored and pictures.labelled is not None:
            predictions = together(predictions_by_picture(watched, pictures.labelled, batch_size=1))
            evaluation = score_predictions(predictions, pictures.labelled)
        else:
            for index in range(len(pictures.pictures)):
                watched([pictures.pictures.picture(index)])
    return evaluation


def _both(reference: Evaluation | None, found: Evaluation | None) -> LabelledAp | None:
    if reference is None or found is None:
        return None
    kinds = {
        "box": ApPair(100 * reference.box.ap, 100 * found.box.ap),
        "mask": ApPair(100 * reference.mask.ap, 100 * found.mask.ap),
    }
    return LabelledAp(found.images, kinds)


def figures_of(parity: Parity, accuracy: LabelledAp | None) -> dict[str, float]:
    """By name: counts, ``matched`` in percent, errors of boxes in shares of the frame and of masks in levels of 255, AP
    and its change in points of 100. What there is nothing of is left out."""
    figures: dict[str, float | None] = {
        "pictures": parity.pictures,
        "instances": parity.instances,
        "matched": None if parity.matched is None else 100 * parity.matched,
        "mask_iou": parity.mask_iou,
        "excused": parity.excused,
        "num_largest": parity.num,
    }
    for name in COMPARED if parity.pairs else ():
        figures |= {f"{name}_largest": parity.errors[name].largest, f"{name}_mean": parity.errors[name].mean}
    for kind, pair in (accuracy.kinds if accuracy else {}).items():
        if not math.isnan(pair.reference):
            figures |= {f"{kind}_ap": pair.found, f"{kind}_ap_change": pair.change}
    return {name: float(value) for name, value in figures.items() if value is not None}
