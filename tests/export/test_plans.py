"""Plans by name: what is asked for, and where it will lie."""

from dataclasses import replace
from pathlib import Path

import pytest

from export.plans import parse_plan
from export.publish import Publication, publish
from scene.errors import ConfigurationError

PROSE = Publication("finds little", "Apache-2.0", "only for tests", scenes=1)


@pytest.mark.parametrize("text", ["", "cuda", "tensorrt:86", "tensorrt-rtx:sm", "tensorrt-rtx:sm8x", "tensorrt:int4"])
def test_another_plan_is_told_before_anything_is_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="plan: expected tensorrt or tensorrt-rtx, with :sm86"):
        publish(tmp_path / "none.pt", tmp_path / "tiny" / "1", replace(PROSE, plans=[text]))
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("text", "capability", "precision", "file"),
    [
        ("tensorrt", None, "float16", "model.plan"),
        ("tensorrt:int8", None, "int8", "model.int8.plan"),
        ("tensorrt-rtx", None, "float16", "model.rtx.plan"),
        ("tensorrt-rtx:sm86", "8.6", "float16", "model.rtx-sm86.plan"),
        ("tensorrt-rtx:sm120:int8", "12.0", "int8", "model.rtx-sm120.int8.plan"),
    ],
)
def test_a_plan_is_named_after_what_it_is_for(text: str, capability: str | None, precision: str, file: str) -> None:
    order = parse_plan(text)
    assert order.request.product == text.partition(":")[0]
    assert (order.request.compute_capability, order.precision, order.file) == (capability, precision, file)


def test_a_plan_is_built_as_large_as_is_asked_and_tensorrt_keeps_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plans = ["tensorrt", "tensorrt-rtx:sm86"]
    full, rtx = (each.request for each in replace(PROSE, plans=plans, plan_batch=16, plan_workspace_mib=512).orders)
    assert (full.largest_batch, full.workspace_mib) == (rtx.largest_batch, rtx.workspace_mib) == (16, 512)
    assert full.timing_cache == tmp_path / "streetmask" / "tensorrt.times"
    assert rtx.timing_cache is None
    (usual,) = replace(PROSE, plans=plans[:1]).orders
    assert (usual.request.largest_batch, usual.request.workspace_mib) == (8, 2048)


def test_eight_bits_of_a_plan_alone_take_calibration_and_ranges() -> None:
    publication = replace(PROSE, plans=["tensorrt-rtx:sm86:int8"], calibration=Path("street"), ranges="entropy")
    assert publication.rounds
