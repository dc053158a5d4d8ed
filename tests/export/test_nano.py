"""The bundled network through the whole export: every precision and engine that a machine has, held against torch."""

from pathlib import Path

import pytest

from export.publish import Publication, publish
from export.verify import subjects_here
from scene.artifact import Artifact

CHECKPOINT = Path(__file__).parents[2] / "models" / "street-nano" / "1" / "checkpoint.pt"


def silent(_: str) -> None:
    pass


def assert_kept(artifact: Artifact) -> None:
    """A record of each way that this machine has, and no broken limit among them."""
    ways = [
        (way.file.path, way.engine, way.precision) for way in (each.recorded for each in subjects_here(artifact)[0])
    ]
    records = {(each.file, each.engine, each.precision): each for each in artifact.verified}
    assert set(ways) <= set(records)
    assert [(each.file, each.engine, each.beyond) for each in artifact.verified if each.beyond] == []


def test_it_keeps_its_limits_in_float32_and_float16(tmp_path: Path) -> None:
    publication = Publication("streets", "Apache-2.0", "only for tests", float16=True, scenes=2)
    artifact = publish(CHECKPOINT, tmp_path / "street-nano" / "1", publication, silent)
    assert_kept(artifact)
    ways = {(each.engine, each.precision) for each in artifact.verified}
    assert {("onnxruntime", "float32"), ("openvino", "float32"), ("onnxruntime", "float16")} <= ways
    for record in artifact.verified:
        assert record.figures["pictures"] == 2
        assert record.figures["instances"] > 10
        assert record.figures["matched"] >= 99


@pytest.mark.timeout(900)  # a minute and a half on two cores
def test_it_keeps_its_limits_in_eight_bits_and_as_plans(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed, and it alone builds without a GPU")
    plans = ["tensorrt-rtx:sm86", "tensorrt-rtx:sm89:int8"]
    publication = Publication(
        "streets", "Apache-2.0", "only for tests", int8=True, float16=True, plans=plans, scenes=30
    )
    artifact = publish(CHECKPOINT, tmp_path / "street-nano" / "1", publication, silent)
    assert_kept(artifact)
    assert artifact.trusted("int8")
    files = {each.file for each in artifact.verified}
    assert files == {entry.path for entry in artifact.files if entry.engine != "torch"}
    assert all(each.judged for each in artifact.verified)
