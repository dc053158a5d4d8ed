import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scene.artifact import (
    MANIFEST,
    OUTPUTS,
    SCHEMA_VERSION,
    Artifact,
    GoldenFrame,
    ModelCard,
    ModelFile,
    Verification,
    file_sha256,
    read_artifact,
    tensor_specs,
    write_artifact,
)
from scene.classes import STREET_CLASSES, coco_categories
from scene.errors import ArtifactError


def written(folder: Path, **changes: Any) -> Artifact:
    """A small valid artifact in the folder, with fields of the manifest changed."""
    model = folder / "model.onnx"
    model.write_bytes(b"a graph")
    artifact = Artifact(
        schema_version=SCHEMA_VERSION,
        name="street-nano",
        version=1,
        class_names=list(STREET_CLASSES),
        size_hw=(288, 576),
        color_order="RGB",
        max_detections=100,
        mask_size_hw=(72, 144),
        thresholds=[0.3] * 8,
        tensors=tensor_specs((288, 576), 100, (72, 144)),
        files=[ModelFile("model.onnx", "onnx", "float32", file_sha256(model))],
        golden=GoldenFrame("golden.png", [2], [0.9], [[0.1, 0.2, 0.3, 0.4]], [120]),
        card=ModelCard("summary", "synthetic scenes", "Apache-2.0", "limits", {"mask_ap": 0.3}),
        source_checkpoint_sha256="0" * 64,
        tools={"torch": "2.13"},
        verified=[Verification("model.onnx", "onnxruntime", "float32", {"boxes": 1e-5})],
    )
    artifact = replace(artifact, **changes)
    write_artifact(artifact, folder)
    return artifact


def test_an_empty_folder_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected a model folder with artifact\.json.*streetmask export"):
        read_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="found none"):
        read_artifact(tmp_path / "nowhere")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    artifact = written(tmp_path)
    assert read_artifact(tmp_path) == artifact
    assert (tmp_path / MANIFEST).read_text().startswith('{\n  "schema_version": 2,')


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": "one"}', "\xff"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content, encoding="latin-1")
    with pytest.raises(ArtifactError, match=r"artifact\.json is damaged: .*export the checkpoint again"):
        read_artifact(tmp_path)


def test_a_manifest_with_a_field_of_the_wrong_type_says_which(tmp_path: Path) -> None:
    written(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "thresholds": ["high"] * 8}))
    with pytest.raises(ArtifactError, match=r"\$\.thresholds"):
        read_artifact(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema_version": 1}, "schema version 1, this StreetMask reads 2; export the checkpoint again"),
        ({"thresholds": [0.3] * 7}, "names 8 classes but 7 thresholds"),
        ({"size_hw": (300, 576)}, "not those of the graph contract"),
        ({"max_detections": 10}, "not those of the graph contract"),
        ({"tensors": {}}, "not those of the graph contract"),
        ({"files": []}, "names no model file"),
        ({"files": [ModelFile("model.plan", "tensorrt", "float16", "0" * 64)]}, r"model\.plan is missing"),
        ({"golden": GoldenFrame("../golden.png", [], [], [], [])}, r"names the file \.\./golden\.png, which is none"),
        (
            {"verified": [Verification("", "", "int8", {}, GoldenFrame("/etc/passwd", [], [], [], []))]},
            "names the file /etc/passwd, which is none of its own folder",
        ),
    ],
)
def test_what_does_not_agree_is_told(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    written(tmp_path, **changes)
    with pytest.raises(ArtifactError, match=sentence):
        read_artifact(tmp_path)


def test_a_changed_model_file_is_told(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(ArtifactError, match=r"model\.onnx is damaged: its SHA-256"):
        read_artifact(tmp_path)


def test_the_digest_is_the_known_one_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert file_sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_tensors_are_those_of_the_contract() -> None:
    specs = tensor_specs((288, 576), 100, (72, 144))
    assert tuple(specs) == ("image", *OUTPUTS)
    assert specs["image"].shape == ["B", 288, 576, 3]
    assert specs["masks"].shape == ["B", 100, 72, 144]
    assert (specs["masks"].dtype, specs["classes"].dtype, specs["scores"].dtype) == ("uint8", "int32", "float32")


def test_categories_count_from_one_in_the_classes_order() -> None:
    assert coco_categories()[0] == {"id": 1, "name": "person"}
    assert [category["name"] for category in coco_categories()] == list(STREET_CLASSES)
    assert coco_categories(("cat",)) == [{"id": 1, "name": "cat"}]
