"""The runnable files of an artifact beside its float32 graph: half precision, eight bits, plans for one kind of GPU."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import onnx
import torch

from export.graph import deployable
from export.lowering import Lowering
from export.to_onnx import write_onnx
from export.to_tensorrt import PlanRequest, build_plan, lowering_for
from export.verify import Subject, stand_in
from model.detect import DetectSettings
from model.yolact import Yolact
from scene.artifact import Artifact, ModelFile, file_sha256
from scene.errors import require
from serve.engines.tensorrt_library import Product

FLOAT32_FILE, INT8_FILE, FLOAT16_FILE = "model.onnx", "model.int8.onnx", "model.float16.onnx"

_PLAN = re.compile(r"(?P<product>[^:]+)(?::sm(?P<capability>\d{2,3}))?")


@dataclass(frozen=True)
class Built:
    """Files that are in the folder, and what stands in for those that cannot run here; ``scaffold`` is needed no longer
    once they are verified."""

    files: list[ModelFile]
    stand_ins: list[Subject]
    scaffold: list[Path]


def parse_plan(text: str) -> PlanRequest:
    """``PRODUCT`` for this machine's GPU, or ``PRODUCT:sm86`` for that compute capability; ``ConfigurationError``."""
    match = _PLAN.fullmatch(text)
    expected = f"{' or '.join(get_args(Product))}, with :sm86 or another compute capability behind it"
    require("plan", match is not None and match["product"] in get_args(Product), expected, text)
    assert match is not None
    capability = match["capability"]
    return PlanRequest(
        product=match["product"],  # type: ignore[arg-type]  # held against the products
        compute_capability=f"{capability[:-1]}.{capability[-1]}" if capability else None,
    )


def plan_name(request: PlanRequest) -> str:
    """The plan's file: ``model.plan``, ``model.rtx.plan``, ``model.rtx-sm86.plan``."""
    product = "rtx" if request.product == "tensorrt-rtx" else ""
    capability = f"sm{request.compute_capability.replace('.', '')}" if request.compute_capability else ""
    return ".".join(filter(None, ("model", "-".join(filter(None, (product, capability))), "plan")))


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


def write_plans(
    network: Yolact,
    settings: DetectSettings,
    folder: Path,
    requests: Sequence[PlanRequest],
    say: Callable[[str], None],
) -> Built:
    """A plan in half precision for each request, from a graph in the lowering that the product's parser takes."""
    built = Built([], [], [])
    for request in requests:
        lowering = lowering_for(request.product)
        graph = folder / f"plan-{lowering}.onnx"
        if graph not in built.scaffold:
            say(f"writing the graph of plans, with {lowering}")
            write_onnx(deployable(network, settings, torch.float16, lowering), graph, fixed_rows=True)
            built.scaffold.append(graph)
        path = folder / plan_name(request)
        say(f"building {path.name}")
        built_for = build_plan(graph, path, request)
        entry = ModelFile(path.name, request.product, "float16", file_sha256(path), built_for)
        entry = replace(entry, lowering=lowering_of(network, lowering))
        built.files.append(entry)
        built.stand_ins.append(stand_in(graph.name, entry, request.product))
    return built
