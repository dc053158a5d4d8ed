"""What is measured: a network on an engine at a batch size, by a name that stays the same from run to run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.engine_names import NamedEngine, named_engine
from bench.runners import GraphRunner, Pasting, Runner, TorchRunner
from scene.artifact import Artifact, file_sha256, read_artifact
from scene.errors import ArtifactError, ConfigurationError
from serve.engines import open_engine

if TYPE_CHECKING:
    from model.detect import DetectSettings
    from model.segmenter import Segmenter
    from model.yolact import Yolact

RowsName = Literal["drawn", "every"]
"""Of which rows a graph makes masks: those above the drawing thresholds, or every one, as AP needs them."""

DRAWING_THRESHOLD = 0.3
"""Of checkpoints and presets; a model folder has its own for each class."""

_CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Subject:
    """One thing to time. ``target`` is a model folder, a checkpoint file or a preset's name, ``engine`` one by the
    names of ``engine_names``; ``rows`` are those that a graph is asked for, and torch always makes every one;
    ``instances`` forces how many rows enter masks and pasting; ``graph`` is the folder, in the form of a model's, where
    a graph written for this run lies."""

    target: str
    engine: str
    batch: int = 1
    device: str = "cpu"
    threads: int = 1
    rows: RowsName = "drawn"
    instances: int | None = None
    graph: Path | None = None

    @property
    def name(self) -> str:
        """``TARGET/ENGINE``; then ``@DEVICE`` of no CPU, ``/bN`` for batches of several, ``/every-row``."""
        device = "" if self.device == "cpu" else f"@{self.device}"
        batch = f"/b{self.batch}" if self.batch > 1 else ""
        return f"{self.target}/{self.engine}{device}{batch}" + ("/every-row" if self.rows == "every" else "")

    @property
    def is_artifact(self) -> bool:
        """Whether the target is a model folder: its graph is then timed as it is, unless instances are forced."""
        return Path(self.target).is_dir()

    @property
    def named(self) -> NamedEngine:
        """What its engine's name stands for."""
        return named_engine(self.engine)

    @property
    def runs_graph(self) -> bool:
        """Whether an engine of ``serve`` runs it."""
        return not self.named.is_torch

    @property
    def needs_graph(self) -> bool:
        """Whether a graph must be written before it can be timed."""
        return self.runs_graph and not (self.is_artifact and self.instances is None)

    @property
    def folder(self) -> Path:
        """The model folder whose graph it runs."""
        return self.graph or Path(self.target)

    def why_not(self) -> str:
        """Why it cannot be measured here, as a sentence; empty if it can."""
        missing = self.named.why_not(self.device)
        if missing or not self.runs_graph or self.needs_graph:
            return missing
        try:
            self.named.way(read_artifact(self.folder))
        except ArtifactError as error:
            return str(error)
        return ""


def parse_subjects(
    targets: tuple[str, ...],
    engines: tuple[str, ...],
    batches: tuple[int, ...],
    common: Subject,
    rows: tuple[RowsName, ...] = ("drawn",),
) -> list[Subject]:
    """Every target on every engine at every batch size, a graph with each kind of rows; the rest as in ``common``.

    Raises ``ConfigurationError``.
    """
    require_networks(targets)
    subjects = [
        replace(common, target=target, engine=engine, batch=batch, device=_device(engine, common.device), rows=kind)
        for target in targets
        for engine in engines
        for batch in batches
        for kind in (("drawn",) if named_engine(engine).is_torch or common.instances is not None else rows)
    ]
    return list(dict.fromkeys(subjects))


def those_that_run(subjects: list[Subject]) -> tuple[list[Subject], dict[str, str]]:
    """The subjects that can be measured here, and by the others' names why they cannot."""
    reasons = {subject.name: subject.why_not() for subject in subjects}
    here = [subject for subject in subjects if not reasons[subject.name]]
    return here, {name: reason for name, reason in reasons.items() if reason}


def require_networks(targets: tuple[str, ...]) -> None:
    """Raise ``ConfigurationError`` for what is no model folder, checkpoint or preset."""
    from model.config import PRESETS  # noqa: PLC0415 - plain data, but it lies beside torch

    for target in targets:
        if not Path(target).exists() and target not in PRESETS:
            raise ConfigurationError(
                "targets",
                f"expected a model folder, a checkpoint or a preset ({', '.join(PRESETS)}), but {target} came",
            )


def open_runner(subject: Subject) -> Runner:
    """Load the subject in this process. Raises ``StreetMaskError`` for what cannot be loaded here."""
    return _graph_runner(subject) if subject.runs_graph else _torch_runner(subject)


def score_threshold(subject: Subject) -> float:
    """What the subject's graph is asked with: rows that score no more need no masks."""
    return 0.0 if subject.rows == "every" else _pasting(subject, classes=1).least_score()


def load_segmenter(target: str, settings: "DetectSettings", engine: str = "torch") -> "Segmenter":
    """What a torch engine runs of a model folder's checkpoint, a checkpoint, or a preset with name-seeded weights."""
    import torch  # noqa: PLC0415 - only where torch is needed

    from bench.plain import PlainSegmenter  # noqa: PLC0415
    from export.graph import deployable  # noqa: PLC0415

    network, named = load_weights_of(target), named_engine(engine)
    if named.runtime == "torch-plain":
        return PlainSegmenter(network, settings).eval()
    return deployable(network, settings, getattr(torch, named.precision))


def graph_file(subject: Subject) -> Path | None:
    """The file that the subject runs, if it runs one."""
    if not subject.runs_graph:
        return None
    return subject.folder / subject.named.way(read_artifact(subject.folder)).file.path


def input_size_hw(subject: Subject) -> tuple[int, int]:
    """The (height, width) that the subject's graph takes."""
    return read_artifact(subject.folder).size_hw


def source_sha256(subject: Subject) -> str:
    """Which weights these are: of the folder's file that it runs, or of its float32 graph where it runs none of them;
    the checkpoint's file; empty for a preset."""
    path = Path(subject.target)
    if path.is_dir():
        artifact = read_artifact(path)
        own = subject.runs_graph and not subject.needs_graph
        return subject.named.way(artifact).file.sha256 if own else _float32_sha256(artifact)
    return file_sha256(path) if path.is_file() else ""


def class_names(target: str) -> tuple[str, ...]:
    """What a model folder or a checkpoint calls its classes."""
    if Path(target).is_dir():
        return tuple(read_artifact(Path(target)).class_names)
    return load_weights_of(target).config.class_names


def _float32_sha256(artifact: Artifact) -> str:
    graphs = (entry for entry in artifact.files if (entry.engine, entry.precision) == ("onnx", "float32"))
    return next((entry.sha256 for entry in graphs), "")


def _device(engine: str, asked: str) -> str:
    """Torch runs where it is asked for; a graph's engine runs where its name says."""
    return asked if named_engine(engine).is_torch else "cpu"


def load_weights_of(target: str) -> "Yolact":
    from model.config import PRESETS  # noqa: PLC0415 - needs torch
    from model.seeded_weights import fill_seeded_weights  # noqa: PLC0415
    from model.yolact import Yolact  # noqa: PLC0415
    from training.checkpoint import load_network  # noqa: PLC0415

    if target in PRESETS and not Path(target).exists():
        network = Yolact(PRESETS[target])
        fill_seeded_weights(network)
        return network.eval()
    path = Path(target)
    return load_network(path / _CHECKPOINT if path.is_dir() else path)


def detect_settings(subject: Subject) -> "DetectSettings":
    """How the subject suppresses: forced instances pass whatever their score, and none but they."""
    from model.detect import DetectSettings  # noqa: PLC0415 - needs torch

    if subject.instances is None:
        return DetectSettings()
    return replace(DetectSettings(), score_threshold=0.0, max_detections=subject.instances)


def _pasting(subject: Subject, classes: int) -> Pasting:
    if subject.is_artifact:
        return Pasting(tuple(read_artifact(Path(subject.target)).thresholds), subject.instances)
    return Pasting((DRAWING_THRESHOLD,) * classes, subject.instances)


def _graph_runner(subject: Subject) -> GraphRunner:
    artifact = read_artifact(subject.folder)
    engine = open_engine(subject.folder, artifact, subject.named.way(artifact), subject.threads)
    pasting = _pasting(subject, len(artifact.class_names))
    return GraphRunner(engine, artifact.size_hw, pasting, score_threshold(subject))


def _torch_runner(subject: Subject) -> TorchRunner:
    import torch  # noqa: PLC0415 - only where a torch engine is timed

    from training.loop import pick_device  # noqa: PLC0415

    torch.set_num_threads(subject.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32: convolutions would else be rounded to 10 bits
    segmenter = load_segmenter(subject.target, detect_settings(subject), subject.engine)
    return TorchRunner(
        segmenter,
        pick_device(subject.device),
        _pasting(subject, segmenter.network.config.class_count),
        compiled=subject.named.runtime == "torch-compile",
    )
