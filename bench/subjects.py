"""What is measured: a network on an engine at a batch size, by a name that stays the same from run to run."""

from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.child import Child
from bench.runners import GraphRunner, Pasting, Runner, TorchRunner
from scene.artifact import GraphPrecision, file_sha256, read_artifact, tensor_specs
from scene.errors import ConfigurationError
from serve.engines import open_engine, runnable
from serve.engines.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from model.detect import DetectSettings
    from model.segmenter import Segmenter
    from model.yolact import Yolact

EngineName = Literal["onnxruntime", "onnxruntime-int8", "torch-plain", "torch", "torch-bfloat16", "torch-compile"]
GRAPH_ENGINES: tuple[EngineName, ...] = ("onnxruntime", "onnxruntime-int8")
"""``onnxruntime`` runs the float32 graph, ``onnxruntime-int8`` the one in eight bits, calibrated on generated streets
where it is written for the run; ``torch`` is the deployed module in float32, with ``torch-bfloat16`` and
``torch-compile`` of it; ``torch-plain`` is what they gain upon: the network as it was trained, BatchNorm and all, on
contiguous maps."""

RowsName = Literal["drawn", "every"]
"""Of which rows a graph makes masks: those above the drawing thresholds, or every one, as AP needs them."""

_EXPORT_S = 1200.0

DRAWING_THRESHOLD = 0.3
"""Of checkpoints and presets; a model folder has its own for each class."""

_CALIBRATION_PICTURES = 16
"""Enough for a network that is only timed."""

_CHECKPOINT, _GRAPH, _SIZES = "checkpoint.pt", "graph.onnx", "sizes.txt"


@dataclass(frozen=True)
class Subject:
    """One thing to time. ``target`` is a model folder, a checkpoint file or a preset's name; ``rows`` are those that a
    graph is asked for, and torch always makes every one; ``instances`` forces how many rows enter masks and pasting;
    ``graph`` is the folder where a graph written for this run lies."""

    target: str
    engine: EngineName
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
    def runs_graph(self) -> bool:
        """Whether ONNX Runtime runs it."""
        return self.engine in GRAPH_ENGINES

    @property
    def precision(self) -> GraphPrecision:
        """Of its graph."""
        return "int8" if self.engine == "onnxruntime-int8" else "float32"

    @property
    def needs_graph(self) -> bool:
        """Whether a graph must be written before it can be timed."""
        return self.runs_graph and not (self.is_artifact and self.instances is None)


def parse_subjects(
    targets: tuple[str, ...],
    engines: tuple[EngineName, ...],
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
        for kind in (rows if engine in GRAPH_ENGINES and common.instances is None else ("drawn",))
    ]
    return list(dict.fromkeys(subjects))


def require_networks(targets: tuple[str, ...]) -> None:
    """Raise ``ConfigurationError`` for what is no model folder, checkpoint or preset."""
    from model.config import PRESETS  # noqa: PLC0415 - plain data, but it lies beside torch

    for target in targets:
        if not Path(target).exists() and target not in PRESETS:
            raise ConfigurationError(
                "targets",
                f"expected a model folder, a checkpoint or a preset ({', '.join(PRESETS)}), but {target} came",
            )


def write_graphs(subjects: list[Subject], folder: Path) -> list[Subject]:
    """The subjects with a graph for each checkpoint or preset that needs one.

    Written in a process of its own, so that no process that times ONNX Runtime has torch in its memory.
    """
    written: dict[tuple[str, GraphPrecision], Path] = {}
    for subject in subjects:
        if subject.needs_graph and (subject.target, subject.precision) not in written:
            graph = folder / str(len(written))
            child = Child(f"the graph of {subject.target}", _write_graph, subject, graph)
            try:
                child.receive(Path, _EXPORT_S)
            finally:
                child.kill()
            written[subject.target, subject.precision] = graph
    return [
        replace(subject, graph=written[subject.target, subject.precision]) if subject.needs_graph else subject
        for subject in subjects
    ]


def open_runner(subject: Subject) -> Runner:
    """Load the subject in this process. Raises ``StreetMaskError`` for what cannot be loaded here."""
    return _graph_runner(subject) if subject.runs_graph else _torch_runner(subject)


def score_threshold(subject: Subject) -> float:
    """What the subject's graph is asked with: rows that score no more need no masks."""
    return 0.0 if subject.rows == "every" else _pasting(subject, classes=1).least_score()


def load_segmenter(target: str, settings: "DetectSettings", engine: EngineName = "torch") -> "Segmenter":
    """What the engine runs of a model folder's checkpoint, a checkpoint, or a preset with name-seeded weights."""
    import torch  # noqa: PLC0415 - only where torch is needed

    from bench.plain import PlainSegmenter  # noqa: PLC0415
    from export.graph import deployable  # noqa: PLC0415

    network = load_weights_of(target)
    if engine == "torch-plain":
        return PlainSegmenter(network, settings).eval()
    return deployable(network, settings, torch.bfloat16 if engine == "torch-bfloat16" else torch.float32)


def graph_file(subject: Subject) -> Path | None:
    """The ONNX file that the subject runs, if it runs one."""
    if not subject.runs_graph:
        return None
    if subject.graph is not None:
        return subject.graph / _GRAPH
    folder = Path(subject.target)
    return folder / runnable(read_artifact(folder), subject.precision)[0].path


def input_size_hw(subject: Subject) -> tuple[int, int]:
    """The (height, width) that the subject's graph takes."""
    if subject.graph is None:
        return read_artifact(Path(subject.target)).size_hw
    return _written_sizes(subject.graph)[0]


def source_sha256(subject: Subject) -> str:
    """Which weights these are: of the folder's graph, the checkpoint's file, or empty for a preset."""
    path = Path(subject.target)
    if path.is_dir():
        return runnable(read_artifact(path), subject.precision)[0].sha256
    return file_sha256(path) if path.is_file() else ""


def class_names(target: str) -> tuple[str, ...]:
    """What a model folder or a checkpoint calls its classes."""
    if Path(target).is_dir():
        return tuple(read_artifact(Path(target)).class_names)
    return load_weights_of(target).config.class_names


def _device(engine: EngineName, asked: str) -> str:
    """ONNX Runtime is here the CPU's; the torch engines run where it is asked for."""
    return "cpu" if engine in GRAPH_ENGINES else asked


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


def _settings(subject: Subject) -> "DetectSettings":
    """Forced instances pass whatever their score, and none but they."""
    from model.detect import DetectSettings  # noqa: PLC0415 - needs torch

    if subject.instances is None:
        return DetectSettings()
    return replace(DetectSettings(), score_threshold=0.0, max_detections=subject.instances)


def _pasting(subject: Subject, classes: int) -> Pasting:
    if subject.is_artifact:
        return Pasting(tuple(read_artifact(Path(subject.target)).thresholds), subject.instances)
    return Pasting((DRAWING_THRESHOLD,) * classes, subject.instances)


def _graph_runner(subject: Subject) -> GraphRunner:
    if subject.graph is None:
        folder = Path(subject.target)
        artifact = read_artifact(folder)
        engine = open_engine(folder, artifact, runnable(artifact, subject.precision)[0], subject.threads)
        pasting = _pasting(subject, len(artifact.class_names))
        return GraphRunner(engine, artifact.size_hw, pasting, score_threshold(subject))
    size_hw, mask_hw, classes, rows = _written_sizes(subject.graph)
    engine = OnnxEngine(subject.graph / _GRAPH, tensor_specs(size_hw, rows, mask_hw), subject.threads)
    return GraphRunner(engine, size_hw, _pasting(subject, classes), score_threshold(subject))


def _written_sizes(graph: Path) -> tuple[tuple[int, int], tuple[int, int], int, int]:
    """Input and mask (height, width), classes and rows, of a graph that was written for this run."""
    height, width, mask_height, mask_width, classes, rows = map(int, (graph / _SIZES).read_text().split())
    return (height, width), (mask_height, mask_width), classes, rows


def _torch_runner(subject: Subject) -> TorchRunner:
    import torch  # noqa: PLC0415 - only where a torch engine is timed

    from training.loop import pick_device  # noqa: PLC0415

    torch.set_num_threads(subject.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32: convolutions would else be rounded to 10 bits
    segmenter = load_segmenter(subject.target, _settings(subject), subject.engine)
    return TorchRunner(
        segmenter,
        pick_device(subject.device),
        _pasting(subject, segmenter.network.config.class_count),
        compiled=subject.engine == "torch-compile",
    )


def _write_graph(connection: Connection, subject: Subject, graph: Path) -> None:
    """In a process of its own: write the graph and what it takes, and answer where."""
    import torch  # noqa: PLC0415 - in a process of its own

    from export.to_onnx import write_onnx  # noqa: PLC0415

    segmenter = load_segmenter(subject.target, _settings(subject))
    graph.mkdir(parents=True)
    config = segmenter.network.config
    write_onnx(segmenter, graph / _GRAPH)
    if subject.precision == "int8":
        from export.calibration import generated_streets  # noqa: PLC0415
        from export.quantize import write_int8  # noqa: PLC0415

        write_int8(graph / _GRAPH, graph / _GRAPH, generated_streets(config.size_hw, _CALIBRATION_PICTURES))
    with torch.inference_mode():
        masks = segmenter(torch.zeros((1, *config.size_hw, 3), dtype=torch.uint8)).masks
    sizes = (*config.size_hw, *masks.shape[2:], config.class_count, masks.shape[1])
    (graph / _SIZES).write_text(" ".join(str(size) for size in sizes))
    connection.send(graph)
