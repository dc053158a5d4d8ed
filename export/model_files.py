"""The graphs of an artifact as entries of its manifest, what they say of themselves, and the one in half precision."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import onnx
import torch

from export.graph import deployable
from export.lowering import Lowering
from export.to_onnx import write_onnx
from model.detect import DetectSettings
from model.yolact import Yolact
from scene.artifact import Artifact, ModelFile, file_sha256

FLOAT32_FILE, INT8_FILE, FLOAT16_FILE = "model.onnx", "model.int8.onnx", "model.float16.onnx"


def onnx_file(folder: Path, name: str, precision: str, metadata: Mapping[str, str], lowering: str) -> ModelFile:
    """The entry of a graph that lies in the folder, into which ``metadata`` is written."""
    model = onnx.load(folder / name)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, folder / name)
    return ModelFile(name, "onnx", precision, file_sha256(folder / name), lowering=lowering)  # type: ignore[arg-type]


def graph_metadata(artifact: Artifact) -> dict[str, str]:
    """What a graph says of itself where it lies without its manifest; lists as JSON."""
    return {
        "name": f"{artifact.name} {artifact.version}",
        "class_names": json.dumps(artifact.class_names),
        "size_hw": json.dumps(artifact.size_hw),
        "color_order": artifact.color_order,
        "thresholds": json.dumps(artifact.thresholds),
        "summary": artifact.card.summary,
        "training_data": artifact.card.training_data,
        "licence": artifact.card.licence,
        "limits": artifact.card.limits,
        "source_checkpoint_sha256": artifact.source_checkpoint_sha256,
        "streetmask": version("streetmask"),
    }


def lowering_of(network: Yolact, lowering: Lowering = "DeformConv") -> str:
    """The operator of the network's deformable convolutions; empty where it has none."""
    return lowering if any(network.config.backbone.deformable) else ""


def write_float16(network: Yolact, settings: DetectSettings, folder: Path, metadata: Mapping[str, str]) -> ModelFile:
    """The graph in half precision, exported from torch, for GPUs: no shape of it depends on a value."""
    write_onnx(deployable(network, settings, torch.float16), folder / FLOAT16_FILE, fixed_rows=True)
    return onnx_file(folder, FLOAT16_FILE, "float16", metadata, lowering_of(network))
