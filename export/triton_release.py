"""Which release of Triton a model repository is for, and what that release can run."""

import re
from dataclasses import dataclass

from export.lowering import Lowering
from scene.errors import require

# The table "ONNX Runtime Versions" of github.com/triton-inference-server/server, docs/introduction/compatibility.md, as
# of release 26.08. It begins where ONNX Runtime first reads opset 22, of which the graph was: 1.20.1, in 24.12
# to 25.02, refused it. Today's graph, of opset 21, has been tried on none that is older.
_ONNX_RUNTIME = {
    "25.03": "1.21.0",
    "25.04": "1.21.0",
    "25.05": "1.22.0",
    "25.06": "1.22.0",
    "25.07": "1.22.0",
    "25.08": "1.23.0",
    "25.09": "1.23.0",
    "25.10": "1.23.1",
    "25.11": "1.23.2",
    "25.12": "1.23.2",
    "26.01": "1.23.2",
    "26.02": "1.24.1",
    "26.03": "1.24.2",
    "26.04": "1.24.4",
    "26.05": "1.24.4",
    "26.06": "1.24.4",
    "26.07": "1.27.0",
    "26.08": "1.28.0",
}
_OLDEST, _NEWEST = min(_ONNX_RUNTIME), max(_ONNX_RUNTIME)

# Tried: 1.24.4 knows the operator and has no kernel for it ("Could not find an implementation for DeformConv(22)"),
# 1.25.0 runs it on the CPU. The CUDA provider of 1.27.0 has a kernel for float, half, bfloat16 and double, that of
# 1.24.4 has none. They came with github.com/microsoft/onnxruntime/pull/27393.
_FIRST_WITH_DEFORM_CONV = (1, 25)

# github.com/triton-inference-server/onnxruntime_backend/pull/345 moves release 26.06 to TensorRT 11.
_FIRST_WITH_TENSORRT_11 = "26.06"


@dataclass(frozen=True)
class TritonRelease:
    """A release by the tag of its container, such as 26.08: the ONNX Runtime in it and the first number of its
    TensorRT's version; ``remark`` says what is not known of it, empty if nothing."""

    version: str
    onnxruntime: str
    tensorrt_major: int
    remark: str = ""

    @property
    def lowering(self) -> Lowering:
        """What a deformable convolution must be in a graph for its ONNX Runtime."""
        number = tuple(int(part) for part in self.onnxruntime.split(".")[:2])
        return "DeformConv" if number >= _FIRST_WITH_DEFORM_CONV else "GridSample"


def find_release(version: str) -> TritonRelease:
    """The release of that name; one newer than the table is taken to hold what the newest in it holds.

    Raises ``ConfigurationError`` for what is no release, and for one older than any that the graph was tried on.
    """
    require(
        "triton_version",
        re.fullmatch(r"\d\d\.(0[1-9]|1[0-2])", version) is not None,
        "the year and month of a release, such as 26.08",
        version,
    )
    require(
        "triton_version",
        version >= _OLDEST,
        f"{_OLDEST} or later, since the graph was tried on the ONNX Runtime of no older release",
        version,
    )
    known = min(version, _NEWEST)
    remark = "" if known == version else f"what it holds is not known here: taken to be what {known} holds"
    return TritonRelease(version, _ONNX_RUNTIME[known], 11 if known >= _FIRST_WITH_TENSORRT_11 else 10, remark)
