"""The plans of an artifact: each for one product of TensorRT, one kind of GPU and one precision."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import torch

from export.graph import deployable
from export.model_files import lowering_of
from export.quantize import write_int8
from export.ranges import RangeMethod
from export.to_onnx import write_onnx
from export.to_tensorrt import PlanRequest, build_plan, lowering_for
from export.verify import Subject, stand_in
from model.detect import DetectSettings
from model.yolact import Yolact
from scene.artifact import ModelFile, Quantisation, file_sha256
from scene.errors import require
from scene.image import RgbImage
from serve.engines.gpu import cache_folder
from serve.engines.tensorrt_library import Product

PlanPrecision = Literal["float16", "int8"]

_PLAN = re.compile(r"(?P<product>[^:]+)(?::sm(?P<capability>\d{2,3}))?(?::(?P<precision>float16|int8))?")


class Order(NamedTuple):
    """A plan that is asked for."""

    request: PlanRequest
    precision: PlanPrecision

    @property
    def file(self) -> str:
        """``model.plan``, ``model.rtx.plan``, ``model.rtx-sm86.plan``, ``model.rtx-sm86.int8.plan``."""
        product = "rtx" if self.request.product == "tensorrt-rtx" else ""
        capability = self.request.compute_capability
        target = "-".join(filter(None, (product, capability and f"sm{capability.replace('.', '')}")))
        return ".".join(filter(None, ("model", target, "int8" if self.precision == "int8" else "", "plan")))


class Calibration(NamedTuple):
    """What eight bits are made of: pictures at the network's size, what they showed if that is known already, and how
    the ranges of the values are found."""

    pictures: Sequence[RgbImage]
    known: Quantisation | None
    ranges: RangeMethod = "percentile"


@dataclass
class Plans:
    """Plans that are in the folder, and what stands in for those that cannot run here; ``scaffold`` are the graphs that
    they were built from, needed no longer once they are verified."""

    files: list[ModelFile] = field(default_factory=list)
    stand_ins: list[Subject] = field(default_factory=list)
    scaffold: list[Path] = field(default_factory=list)
    quantisation: Quantisation | None = None


def parse_plan(
    text: str, largest_batch: int = PlanRequest.largest_batch, workspace_mib: int = PlanRequest.workspace_mib
) -> Order:
    """``PRODUCT`` for this machine's GPU or ``PRODUCT:sm86`` for another, in half precision; with ``:int8`` behind it,
    in eight bits. The numbers are ``PlanRequest``'s. Raises ``ConfigurationError``."""
    match = _PLAN.fullmatch(text)
    expected = f"{' or '.join(get_args(Product))}, with :sm86 or another compute capability and :int8 behind it"
    require("plan", match is not None and match["product"] in get_args(Product), expected, text)
    assert match is not None
    capability = match["capability"]
    request = PlanRequest(
        product=cast(Product, match["product"]),
        largest_batch=largest_batch,
        workspace_mib=workspace_mib,
        compute_capability=f"{capability[:-1]}.{capability[-1]}" if capability else None,
        timing_cache=cache_folder() / "tensorrt.times" if match["product"] == "tensorrt" else None,
    )
    return Order(request, cast(PlanPrecision, match["precision"] or "float16"))


def write_plans(
    network: Yolact,
    settings: DetectSettings,
    folder: Path,
    orders: Sequence[Order],
    calibration: Calibration,
    say: Callable[[str], None],
) -> Plans:
    """A plan for each order, from a graph of fixed rows in the lowering that the product's parser takes.

    In eight bits the graph is symmetric, and what stays as it was is in half precision.
    """
    plans = Plans(quantisation=calibration.known)
    for order in orders:
        lowering = lowering_for(order.request.product)
        half, graph = (folder / f"plan-{lowering}-{kind}.onnx" for kind in ("float16", order.precision))
        if half not in plans.scaffold:
            say(f"writing the graph of plans, with {lowering}")
            write_onnx(deployable(network, settings, torch.float16, lowering), half, fixed_rows=True)
            plans.scaffold.append(half)
        if graph not in plans.scaffold:
            say("rounding it to eight bits")
            plans.quantisation = write_int8(
                half, graph, calibration.pictures, calibration.ranges, symmetric=True, known=plans.quantisation
            )
            plans.scaffold.append(graph)
        say(f"building {order.file}")
        built_for = build_plan(graph, folder / order.file, order.request)
        digest = file_sha256(folder / order.file)
        entry = ModelFile(
            order.file, order.request.product, order.precision, digest, built_for, lowering_of(network, lowering)
        )
        plans.files.append(entry)
        plans.stand_ins.append(stand_in(graph.name, entry, order.request.product))
    return plans
