"""Weight files: PyTorch's two formats and safetensors. Read without running anything that they carry, and cleaned."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec
import torch
from torch import Tensor

from model.config import YolactConfig
from model.yolact import Yolact
from scene.disk import whole_file
from scene.errors import DataError

Format = Literal["PyTorch zip", "PyTorch legacy", "safetensors"]
Entries = tuple[tuple[str, str], ...]
"""Tensors by name, each with what there is to say of it."""

_ABOUT = "streetmask"
"""The key of a safetensors file's metadata under which our configuration stands, as JSON."""
_WRAPPERS = ("state_dict", "model")
_PROGRESS = ("step", "data", "thresholds")
_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")
_OLD_STAGE = re.compile(r"backbone\.layer\d")
_OLD_LEVEL = re.compile(r"fpn\.downsample_layers\.(?:[2-9]|\d\d)")


class Progress(TypedDict, total=False):
    """What a checkpoint of ours says beside its weights: steps trained, on what, and the drawing threshold a class."""

    step: int
    data: list[str]
    thresholds: list[float]


@dataclass(frozen=True)
class WeightFile:
    """What a file holds. ``state`` is clean: float32 or not, every number is finite, and no two tensors share memory.

    ``config`` and ``progress`` are there if it is our own; ``renamed`` gives the file's name of a tensor whose prefix
    was taken off; ``left_over`` what is in the file and not in ``state``, and why.
    """

    path: Path
    format: Format
    state: dict[str, Tensor]
    config: YolactConfig | None = None
    progress: Progress = field(default_factory=Progress)
    renamed: Mapping[str, str] = field(default_factory=dict)
    left_over: Entries = ()


def read_state(path: Path) -> WeightFile:
    """Read a state_dict, bare or under ``state_dict`` or ``model``, or a checkpoint of ours, onto the CPU.

    Raises ``DataError`` where there is no such file; where it is damaged, asks for code to be run (nothing of it is),
    holds no tensors or a number that is none; and where its configuration is not one of ours.
    """
    if not path.is_file():
        raise DataError(f"expected a weight file at {path}, found none")
    kind = _format(path)
    content = _read_safetensors(path) if kind == "safetensors" else read_torch(path)
    parts = _unpack(content, path)
    state, renamed, superfluous = _clean(parts.weights, path)
    if not state:
        raise DataError(f"{path} holds no tensors: expected a network's state_dict")
    _require_finite(state, path)
    return WeightFile(path, kind, state, parts.config, parts.progress, renamed, (*parts.left_over, *superfluous))


def save_safetensors(path: Path, network: Yolact, progress: Progress) -> None:
    """Write network, configuration and progress, whole or not at all; ``read_state`` reads them."""
    from safetensors.torch import save  # noqa: PLC0415 - only who uses the format needs the package

    about = msgspec.json.encode({"config": network.config, **progress}).decode()
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with whole_file(path) as stream:  # not the library's own way to a file, which only its owner could read
        stream.write(save(state, metadata={"format": "pt", _ABOUT: about}))


def _format(path: Path) -> Format:
    """By its first bytes, whatever it is called."""
    with path.open("rb") as stream:
        head = stream.read(9)
    if head.startswith(b"PK\x03\x04"):
        return "PyTorch zip"
    return "safetensors" if head[8:] == b"{" else "PyTorch legacy"


def read_torch(path: Path) -> object:
    """What torch saved, on the CPU, read with ``weights_only=True``, so that a file cannot carry code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key and runtime errors alike
        raise DataError(_refusal(path, error)) from error


def _refusal(path: Path, error: Exception) -> str:
    asked = re.search(r"(?:GLOBAL|unrecognized function) (\S+)", str(error))
    if asked:
        return (
            f"{path} asks for {asked[1]}, which is no tensor and could run code: refused, and nothing of it ran; "
            "ask its maker for a plain state_dict or for safetensors"
        )
    return (
        f"{path} is damaged, cut off or no weight file ({type(error).__name__}): expected a state_dict or a checkpoint "
        "that torch saved, or safetensors; fetch it again"
    )


def _read_safetensors(path: Path) -> object:
    """The tensors, or the content of a checkpoint of ours: one form for both formats."""
    from safetensors import safe_open  # noqa: PLC0415 - only who uses the format needs the package

    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get(_ABOUT)
            # Copied, since the library's tensors are the mapped file: they change, or crash, when it is overwritten.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return tensors if about is None else {**msgspec.json.decode(about, type=dict[str, Any]), "model": tensors}
    except Exception as error:  # its own error, the JSON's and the operating system's alike
        raise DataError(_refusal(path, error)) from error


class _Parts(NamedTuple):
    """A file's content: the weights, and what stands beside them."""

    weights: Mapping[Any, object]
    config: YolactConfig | None
    progress: Progress
    left_over: Entries


def _unpack(content: object, path: Path) -> _Parts:
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds a {type(content).__name__}: expected a network's state_dict")
    wrapper = next((name for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
    if wrapper is None:
        return _Parts(content, None, Progress(), ())
    config, progress = None, Progress()
    if wrapper == "model" and "config" in content:
        config, progress = _about(content, path)
    beside = content.keys() - {wrapper, *progress} - ({"config"} if config else set())
    left_over = tuple((f"{name}", "not weights") for name in sorted(beside, key=str))
    return _Parts(content[wrapper], config, progress, left_over)


def _about(content: Mapping[Any, Any], path: Path) -> tuple[YolactConfig, Progress]:
    """Configuration and progress of a checkpoint of ours."""
    config = config_in(content, path)
    try:
        progress = msgspec.convert({name: content[name] for name in _PROGRESS if name in content}, Progress)
    except msgspec.ValidationError as error:
        raise DataError(f"{path} does not hold a progress that StreetMask knows: {error}") from error
    thresholds = len(progress.get("thresholds", config.class_names))
    if thresholds != config.class_count:
        raise DataError(f"{path} has {thresholds} drawing thresholds for {config.class_count} classes: export it again")
    return config, progress


def config_in(content: Mapping[Any, Any], path: Path) -> YolactConfig:
    """The configuration of a checkpoint of ours; what an older one lacks has its default."""
    try:
        return msgspec.convert(content["config"], YolactConfig)
    except msgspec.ValidationError as error:
        raise DataError(f"{path} does not hold a configuration that StreetMask knows: {error}") from error


def _clean(raw: Mapping[Any, object], path: Path) -> tuple[dict[str, Tensor], dict[str, str], Entries]:
    """The tensors by their proper names, the names that were changed, and what is superfluous."""
    state: dict[str, Tensor] = {}
    renamed: dict[str, str] = {}
    left_over: list[tuple[str, str]] = []
    staged = any("backbone.layers." in f"{key}" for key in raw)
    addresses: set[int] = set()
    for key, value in raw.items():
        name = _PREFIXES.sub("", f"{key}")
        reason = _superfluous(name, value, staged)
        if not reason and name in state:
            raise DataError(f"{path} holds two tensors {name}, one as {key}: remove the one that is not meant")
        if reason or not isinstance(value, Tensor):
            left_over.append((f"{key}", reason))
            continue
        state[name] = _alone(value.detach(), addresses)
        if name != key:
            renamed[name] = f"{key}"
    return state, renamed, tuple(left_over)


def _superfluous(name: str, value: object, staged: bool) -> str:
    """Why no network of ours has use for it, or nothing."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized:
        return "no plain tensor"
    if staged and _OLD_STAGE.match(name):
        return "an old name of what backbone.layers holds"
    if _OLD_LEVEL.match(name):
        return "of a pyramid level above P7, which no network has"
    return ""


def _alone(tensor: Tensor, addresses: set[int]) -> Tensor:
    """The tensor, copied if it shares memory: what is trained must not change another, nor a save write the whole."""
    storage = tensor.untyped_storage()
    if not tensor.is_contiguous() or storage.nbytes() != tensor.nbytes or storage.data_ptr() in addresses:
        return tensor.clone(memory_format=torch.contiguous_format)
    addresses.add(storage.data_ptr())
    return tensor


def _require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in state.items():
        # The extremes tell it without a mask of the tensor's size: a number that is none passes through both.
        if tensor.is_floating_point() and tensor.numel() and not all(map(torch.isfinite, torch.aminmax(tensor))):
            raise DataError(
                f"{path} holds NaN or infinity in {name}: training that diverged, or damage; use an earlier one"
            )
