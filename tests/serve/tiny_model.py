"""A model folder of a few kilobytes that keeps the graph contract: it finds what is purely red, green or blue.

For each of the three channels one instance at most: its mask is the channel's lead over the mean of all three, its
score the strongest mask value, its box the extent of the mask. So answers depend on the picture, and every one can be
computed by hand.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from scene.artifact import (
    SCHEMA_VERSION,
    Artifact,
    GoldenFrame,
    ModelCard,
    ModelFile,
    file_sha256,
    tensor_specs,
    write_artifact,
)
from scene.image import network_input
from serve.engines.onnx_engine import OnnxEngine

NAMES = ["red", "green", "blue"]
SIZE_HW = (32, 64)
MASK_HW = (8, 16)
DTYPES = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def street(*objects: tuple[int, tuple[int, int, int, int]], size_hw: tuple[int, int] = (64, 128)) -> NDArray[np.uint8]:
    """A grey picture, uint8 [H, W, 3], with rectangles of pure channels: (channel, xyxy in pixels)."""
    image = np.full((*size_hw, 3), 90, np.uint8)
    for channel, (x1, y1, x2, y2) in objects:
        image[y1:y2, x1:x2] = 0
        image[y1:y2, x1:x2, channel] = 255
    return image


def write_tiny_model(
    folder: Path, scores_off: float = 0.0, name: str = "tiny", version: int = 3, gain: float = 1.5
) -> Path:
    """Write the folder and return it; ``scores_off`` falsifies the golden frame's scores, of two
    models the one of the smaller ``gain`` finds the same objects with lower scores and smaller masks."""
    folder.mkdir(parents=True)
    onnx.save(_graph(gain), folder / "model.onnx")
    image = street((0, (32, 16, 64, 48)), (2, (96, 16, 128, 48)))
    cv2.imwrite(str(folder / "golden.png"), image[..., ::-1])
    write_artifact(replace(_artifact(folder, image, scores_off), name=name, version=version), folder)
    return folder


def _artifact(folder: Path, image: NDArray[np.uint8], scores_off: float) -> Artifact:
    tensors = tensor_specs(SIZE_HW, len(NAMES), MASK_HW)
    answer = OnnxEngine(folder / "model.onnx", tensors, 1).run(network_input(image, SIZE_HW)[None])
    count = int(answer.num[0])
    golden = GoldenFrame(
        "golden.png",
        answer.classes[0, :count].tolist(),
        [score - scores_off for score in answer.scores[0, :count].tolist()],
        answer.boxes[0, :count].tolist(),
        (answer.masks[0, :count] >= 128).sum(axis=(1, 2)).tolist(),
    )
    return Artifact(
        schema_version=SCHEMA_VERSION,
        name="tiny",
        version=3,
        class_names=NAMES,
        size_hw=SIZE_HW,
        color_order="RGB",
        max_detections=len(NAMES),
        mask_size_hw=MASK_HW,
        thresholds=[0.3, 0.3, 0.3],
        tensors=tensors,
        files=[ModelFile("model.onnx", "onnx", "float32", file_sha256(folder / "model.onnx"))],
        golden=golden,
        card=ModelCard("finds pure colours", "none", "Apache-2.0", "only for tests"),
        source_checkpoint_sha256="",
        tools={},
    )


def _graph(gain: float) -> onnx.ModelProto:
    specs = tensor_specs(SIZE_HW, len(NAMES), MASK_HW)
    values = {name: helper.make_tensor_value_info(name, DTYPES[spec.dtype], spec.shape) for name, spec in specs.items()}
    constants = {
        "none": np.float32(0),
        "gain": np.float32(gain),
        "full": np.float32(255),
        "noise": np.float32(0.05),
        "edge": np.float32(64),
        "half": np.float32(0.5),
        "one": np.int64(1),
        "last": np.array([-1]),
        "plane": np.array([2, 3]),
        "rows": np.array([1]),
        "count": np.array([len(NAMES)]),
        "sides": np.array([MASK_HW[1], MASK_HW[0], MASK_HW[1], MASK_HW[0]], np.float32),
        "plane_tail": np.array([-2, -1]),
    }
    graph = helper.make_graph(
        [*_find(), *_order(), *_box()],
        "colours",
        [values.pop("image")],
        list(values.values()),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def _find() -> list[onnx.NodeProto]:
    """A heat map and a score for each channel."""
    return [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "last"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["pixels", "mean"], ["lead"]),
        helper.make_node("Mul", ["lead", "gain"], ["louder"]),
        helper.make_node("Max", ["louder", "none"], ["pure"]),
        helper.make_node("Transpose", ["pure"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels"], ["heat"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ReduceMax", ["heat", "plane"], ["strongest"], keepdims=0),
        helper.make_node("Div", ["strongest", "full"], ["all_scores"]),
    ]


def _order() -> list[onnx.NodeProto]:
    """Rows by falling score, zero where there is nothing."""
    return [
        helper.make_node("TopK", ["all_scores", "count"], ["sorted", "order"], axis=1),
        helper.make_node("Greater", ["sorted", "noise"], ["seen"]),
        helper.make_node("Cast", ["seen"], ["keep"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sorted", "keep"], ["scores"]),
        helper.make_node("Mul", ["scores", "half"], ["mask_scores"]),
        helper.make_node("Cast", ["seen"], ["keep_int"], to=TensorProto.INT32),
        helper.make_node("Cast", ["order"], ["order_int"], to=TensorProto.INT32),
        helper.make_node("Mul", ["order_int", "keep_int"], ["classes"]),
        helper.make_node("ReduceSum", ["keep_int", "rows"], ["num"], keepdims=0),
        helper.make_node("Unsqueeze", ["order", "last"], ["order_nd"]),
        helper.make_node("GatherND", ["heat", "order_nd"], ["ordered"], batch_dims=1),
        helper.make_node("Unsqueeze", ["keep", "plane_tail"], ["keep_plane"]),
        helper.make_node("Mul", ["ordered", "keep_plane"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["masks"], to=TensorProto.UINT8),
    ]


def _box() -> list[onnx.NodeProto]:
    """The extent of each mask's clear cells: a video's noise is none."""
    nodes = [helper.make_node("Greater", ["kept", "edge"], ["cells"])]
    nodes.append(helper.make_node("Cast", ["cells"], ["filled"], to=TensorProto.FLOAT))
    for side, axis in (("x", 2), ("y", 3)):
        nodes += [
            helper.make_node("ReduceMax", ["filled", f"over_{side}"], [f"along_{side}"], keepdims=0),
            helper.make_node("ArgMax", [f"along_{side}"], [f"{side}1"], axis=2, keepdims=1),
            helper.make_node("ArgMax", [f"along_{side}"], [f"{side}_last"], axis=2, keepdims=1, select_last_index=1),
            helper.make_node("Add", [f"{side}_last", "one"], [f"{side}2"]),
        ]
        nodes.insert(0, helper.make_node("Constant", [], [f"over_{side}"], value_ints=[axis]))
    return [
        *nodes,
        helper.make_node("Concat", ["x1", "y1", "x2", "y2"], ["cells_xyxy"], axis=2),
        helper.make_node("Cast", ["cells_xyxy"], ["cells_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["cells_float", "sides"], ["part"]),
        helper.make_node("Unsqueeze", ["keep", "last"], ["keep_box"]),
        helper.make_node("Mul", ["part", "keep_box"], ["boxes"]),
    ]
