"""The contract and the code generated from it."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from protos import generate
from protos.streetmask.v1 import segmentation_pb2 as pb

protoc = pytest.importorskip("grpc_tools.protoc", reason="the generator is of the dev extra")


def test_what_is_checked_in_is_what_the_contract_gives() -> None:
    assert generate.differing() == []


def test_a_file_out_of_step_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(generate, "differing", lambda: [Path("protos/streetmask/v1/segmentation_pb2.py")])
    assert generate.main(["--check"]) == 1
    assert "segmentation_pb2.py is out of step" in capsys.readouterr().err


def test_a_changed_and_a_missing_file_differ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in generate.SOURCES:
        copy = tmp_path / source
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((generate.ROOT / source).read_bytes())
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    generate.generate(tmp_path)
    assert generate.differing() == []
    stub, code = tmp_path / generate.OUTPUTS[1], tmp_path / generate.OUTPUTS[0]
    stub.write_bytes(stub.read_bytes() + b"#")
    code.unlink()
    assert generate.differing() == [generate.OUTPUTS[0], generate.OUTPUTS[1]]


def test_every_enum_begins_with_unspecified_and_prefixes_its_values() -> None:
    enums = pb.DESCRIPTOR.enum_types_by_name
    assert enums
    for name, enum in enums.items():
        prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name).lstrip("_")
        assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
        assert all(value.name.startswith(f"{prefix}_") for value in enum.values)


@pytest.mark.parametrize(("source", "fewest"), [("segmentation", 80), ("admin", 20)])
def test_everything_in_the_contract_is_commented(tmp_path: Path, source: str, fewest: int) -> None:
    (path,) = [generate.ROOT / each for each in generate.SOURCES if each.stem == source]
    out = tmp_path / "set"
    arguments = [f"-I{generate.ROOT}", "--include_source_info", f"--descriptor_set_out={out}"]
    assert protoc.main(["protoc", *arguments, str(path)]) == 0
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    commented = {tuple(each.path) for each in file.source_code_info.location if each.leading_comments.strip()}
    wanted = {(6, 0), *((6, 0, 2, index) for index in range(len(file.service[0].method)))}
    for number, message in enumerate(file.message_type):
        wanted |= {(4, number), *((4, number, 2, index) for index in range(len(message.field)))}
    for number, enum in enumerate(file.enum_type):
        wanted |= {(5, number), *((5, number, 2, index) for index in range(len(enum.value)))}
    assert len(wanted) > fewest
    assert wanted - commented == set()
