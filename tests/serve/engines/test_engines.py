"""The choice of an engine that this machine and an artifact's files allow."""

from dataclasses import replace
from typing import Literal

import pytest

import serve.engines
from scene.artifact import Artifact, ModelFile, Precision, Verification
from scene.errors import ArtifactError, ConfigurationError
from serve.engines import EngineName, Way, all_ways, named, ways, why_not_here
from serve.model import Model


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with every engine, and a processor that computes in whatever it is asked to."""
    monkeypatch.setattr(serve.engines, "why_not", lambda _: "")
    monkeypatch.setattr(serve.engines, "_computes", lambda _: True)


@pytest.fixture
def only_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(engine: EngineName) -> str:
        return "" if engine == "onnxruntime" else f"{engine} is not here"

    monkeypatch.setattr(serve.engines, "why_not", missing)


def with_files(artifact: Artifact, *files: ModelFile, verified: tuple[Verification, ...] = ()) -> Artifact:
    return replace(artifact, files=list(files), verified=list(verified))


def entry(path: str, engine: str = "onnx", precision: str = "float32") -> ModelFile:
    return ModelFile(path, engine, precision, "0" * 64)  # type: ignore[arg-type]


def verified(precision: str, beyond: tuple[str, ...] = (), engine: str = "onnxruntime") -> Verification:
    return Verification("model", engine, precision, {}, beyond=list(beyond))  # type: ignore[arg-type]


def test_an_artifact_without_a_file_for_this_machine_is_refused(tiny: Model, only_onnxruntime: None) -> None:
    plan = with_files(tiny.artifact, entry("model.plan", "tensorrt"))
    with pytest.raises(
        ArtifactError, match="cannot run here on any engine; its files are tensorrt float32; tensorrt is"
    ):
        ways(plan)
    weights = with_files(tiny.artifact, entry("checkpoint.pt", "torch"))
    with pytest.raises(ArtifactError, match="its files are torch float32; export the checkpoint again"):
        ways(weights)


def test_a_precision_that_was_not_exported_is_told(tiny: Model, only_onnxruntime: None) -> None:
    with pytest.raises(ArtifactError, match=r"on any engine in int8; its files are onnx float32; .* again with --int8"):
        ways(tiny.artifact, precision="int8")


@pytest.mark.parametrize(
    ("engine", "precision", "option"),
    [
        ("openvino", "int8", " with --int8"),
        ("onnxruntime-cuda", "float16", " with --float16"),
        ("onnxruntime-tensorrt", None, " with --float16"),
        ("tensorrt", None, " with --plan tensorrt"),
        ("tensorrt-rtx", "int8", " with --plan tensorrt-rtx:int8"),
    ],
)
def test_what_export_must_be_told_is_said(
    tiny: Model, everywhere: None, engine: EngineName, precision: Precision | None, option: str
) -> None:
    with pytest.raises(ArtifactError, match=f"its files are onnx float32; export the checkpoint again{option}$"):
        ways(tiny.artifact, engine, precision)


def test_a_precision_that_an_engine_has_not_is_told_whatever_the_files(tiny: Model, everywhere: None) -> None:
    with pytest.raises(ArtifactError, match="onnx float32; onnxruntime-tensorrt computes in float16 alone: choose"):
        ways(tiny.artifact, "onnxruntime-tensorrt", "float32")
    way = Way("onnxruntime-tensorrt", "float32", tiny.artifact.files[0])
    assert why_not_here(way).startswith("onnxruntime-tensorrt computes in float16 alone")


def test_an_engine_that_cannot_run_here_is_an_error_and_no_other_takes_its_place(
    tiny: Model, only_onnxruntime: None
) -> None:
    with pytest.raises(ConfigurationError, match="engine: onnxruntime-cuda is not here"):
        ways(tiny.artifact, "onnxruntime-cuda")


def test_every_way_of_every_file_is_known_the_likely_fastest_first(tiny: Model, everywhere: None) -> None:
    files = [entry("f"), entry("i", precision="int8"), entry("h", precision="float16")]
    files += [entry("p", "tensorrt", "float16"), entry("r", "tensorrt-rtx", "int8"), entry("w", "torch")]
    found = all_ways(with_files(tiny.artifact, *files))
    assert [(way.engine, way.precision, way.file.path) for way in found] == [
        ("tensorrt", "float16", "p"),
        ("tensorrt-rtx", "int8", "r"),
        ("onnxruntime-tensorrt", "float16", "h"),
        ("onnxruntime-cuda", "float16", "h"),
        ("onnxruntime-cuda", "float32", "f"),
        ("openvino", "int8", "i"),
        ("openvino", "bfloat16", "f"),
        ("openvino", "float32", "f"),
        ("onnxruntime", "int8", "i"),
        ("onnxruntime", "float32", "f"),
    ]


@pytest.mark.parametrize("product", ["tensorrt", "tensorrt-rtx"])
def test_of_a_product_s_plans_the_one_of_the_fewest_bits_comes_first(
    tiny: Model, everywhere: None, product: Literal["tensorrt", "tensorrt-rtx"]
) -> None:
    plans = [entry("half.plan", product, "float16"), entry("eight.plan", product, "int8")]
    both = verified("float16", engine=product), verified("int8", engine=product)
    assert [way.file.path for way in ways(with_files(tiny.artifact, *plans, verified=both))] == [
        "eight.plan",
        "half.plan",
    ]
    beyond = verified("float16", engine=product), verified("int8", ("box AP",), product)
    assert [way.file.path for way in ways(with_files(tiny.artifact, *plans, verified=beyond))] == ["half.plan"]


@pytest.mark.parametrize(
    ("records", "trusted"),
    [
        ((), {"float32"}),
        ((verified("int8"),), {"float32", "int8"}),
        ((verified("int8"), verified("bfloat16", engine="openvino")), {"float32", "int8", "bfloat16"}),
        ((verified("int8", ("box AP",)),), {"float32"}),
        ((verified("int8"), verified("int8", ("box AP",), "openvino")), {"float32"}),
    ],
)
def test_only_what_was_verified_is_taken_unasked(
    tiny: Model, everywhere: None, records: tuple[Verification, ...], trusted: set[str]
) -> None:
    artifact = with_files(tiny.artifact, entry("f"), entry("i", precision="int8"), verified=records)
    assert {way.precision for way in ways(artifact)} == trusted
    assert {way.precision for way in ways(artifact, precision="int8")} == {"int8"}


def test_bfloat16_is_left_to_processors_that_have_it(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr("serve.engines.openvino_engine.has_bfloat16", lambda: False)
    with pytest.raises(
        ArtifactError, match=r"on openvino in bfloat16; .* float32; this processor has no bfloat16: with"
    ):
        ways(tiny.artifact, "openvino", "bfloat16")
    monkeypatch.setattr("serve.engines.openvino_engine.has_bfloat16", lambda: True)
    assert [way.name for way in ways(tiny.artifact, "openvino", "bfloat16")] == ["openvino in bfloat16"]


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.engines, "find_spec", lambda _: None)
    for engine, package, extra in (
        ("openvino", "openvino", "openvino"),
        ("tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx"),
        ("onnxruntime-cuda", "onnxruntime", "cuda"),
    ):
        sentence = serve.engines.why_not(engine)  # type: ignore[arg-type]
        assert sentence.startswith(f"{engine} needs the package {package}, which is not installed")
        assert f"'streetmask[{extra}]'" in sentence


def test_a_way_is_known_by_its_name() -> None:
    way = Way("onnxruntime-cuda", "float16", entry("model.fp16.onnx", precision="float16"))
    assert named(way.name) == ("onnxruntime-cuda", "float16")
