"""A model from whatever holds one: a folder of an export, or weights alone."""

from pathlib import Path

from scene.artifact import Precision
from scene.errors import DataError, require
from serve.engines import EngineName
from serve.model import Model
from serve.settings import usable_cpus


def load(
    path: str | Path,
    preset: str | None = None,
    threads: int = 0,
    precision: Precision | None = None,
    engine: EngineName | None = None,
) -> Model:
    """Load a model folder NAME/VERSION, a checkpoint, published weights (.pth) or safetensors, to segment pictures.

    Both forms of one network find the same instances. ``preset`` names the network of weights that leave a choice;
    ``threads`` of the CPU, 0 for all; ``engine`` and ``precision`` choose how a folder runs
    (``serve.model.Model.load``). Weights run in torch, in float32: ``pip install 'streetmask[export]'``. Raises
    ``StreetMaskError`` for what cannot be loaded.

    ``streetmask.load("models/street-nano/1").segment(image).instances``
    """
    path, threads = Path(path), threads or usable_cpus()
    if not path.is_file():
        require("preset", preset is None, "none for a model folder, which says what it is", preset)
        return Model.load(path, threads, precision, engine)
    require("engine", engine is None, "none for weights, which run in torch", engine)
    require("precision", precision in (None, "float32"), "float32 for weights; export them with --int8", precision)
    try:
        from export.torch_engine import open_weights  # noqa: PLC0415 - an installation that serves has no torch
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path} is a file of weights, which needs the package {error.name}: pip install 'streetmask[export]', or "
            "name the folder of an export"
        ) from error
    return open_weights(path, preset, threads=threads)
