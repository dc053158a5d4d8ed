import json
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model.config import YolactConfig
from model.weight_file import read_state, save_safetensors
from scene.errors import DataError
from tests.model.tiny_network import TINY, seeded_network
from training.checkpoint import save_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


class Carrier:
    """Code in a pickle: reading it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def saved(path: Path, content: object, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a weight file at .*none\.pth, found none"):
        read_state(tmp_path / "none.pth")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        read_state(tmp_path)


@pytest.mark.parametrize("content", [{}, OrderedDict(), {"state_dict": {}}, {"epoch": 3}])
def test_no_tensors(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError, match="holds no tensors"):
        read_state(saved(tmp_path / "empty.pth", content))


def test_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a list: expected a network's state_dict"):
        read_state(saved(tmp_path / "list.pth", [1, 2]))


@pytest.mark.parametrize(("legacy", "kind"), [(False, "PyTorch zip"), (True, "PyTorch legacy")])
def test_both_of_torchs_formats(tmp_path: Path, legacy: bool, kind: str) -> None:
    file = read_state(saved(tmp_path / "some.pth", OrderedDict(TENSORS), legacy))
    assert file.format == kind
    assert file.config is None
    assert not file.left_over
    assert file.state.keys() == TENSORS.keys()
    assert all(torch.equal(file.state[name], tensor) for name, tensor in TENSORS.items())


def test_safetensors_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    save_file(TENSORS, path, metadata={"format": "pt"})
    file = read_state(path)
    assert file.format == "safetensors"
    assert file.config is None
    assert all(torch.equal(file.state[name], tensor) for name, tensor in TENSORS.items())


def test_what_was_read_does_not_change_when_the_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_file({"a": torch.ones(100_000)}, path)
    file = read_state(path)
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))
    assert torch.equal(file.state["a"], torch.ones(100_000))


@pytest.mark.parametrize(
    "content", [b"", b"no weights", b"PK\x03\x04" + bytes(50), bytes(8) + b"{", b"\x80\x02}q\x00."]
)
def test_no_weight_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged, cut off or no weight file|holds no tensors"):
        read_state(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.999])
def test_a_truncated_file(tmp_path: Path, kind: str, kept: float) -> None:
    path = tmp_path / "some.pth"
    if kind == "safetensors":
        save_file(seeded_network().state_dict(), path)
    else:
        saved(path, seeded_network().state_dict(), legacy=kind == "legacy")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError, match="damaged, cut off or no weight file"):
        read_state(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_carries_code_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    made = tmp_path / "made"
    path = saved(tmp_path / "some.pth", {**TENSORS, "hook": Carrier(made)}, legacy)
    with pytest.raises(DataError, match="which is no tensor and could run code: refused") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert not made.exists()


def test_a_whole_module_is_refused_by_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "some.pth", torch.nn.Linear(2, 2))
    with pytest.raises(DataError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_state(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_number_that_is_none_is_told_with_its_tensor(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    weight = torch.ones(5, 4, dtype=dtype)
    weight[3, 1] = value
    path = saved(tmp_path / "some.pth", {"good": torch.ones(2), "layer.weight": weight})
    with pytest.raises(DataError, match=r"holds NaN or infinity in layer\.weight"):
        read_state(path)


def test_a_tensor_without_elements_is_finite(tmp_path: Path) -> None:
    assert read_state(saved(tmp_path / "some.pth", {"none": torch.zeros(0, 3)})).state["none"].shape == (0, 3)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_is_taken_off_and_remembered(tmp_path: Path, prefix: str) -> None:
    content = {prefix + name: tensor for name, tensor in TENSORS.items()}
    file = read_state(saved(tmp_path / "some.pth", content))
    assert file.state.keys() == TENSORS.keys()
    assert file.renamed == {name: prefix + name for name in TENSORS}


def test_two_tensors_of_one_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds two tensors a, one as module\.a"):
        read_state(saved(tmp_path / "some.pth", {"a": torch.ones(2), "module.a": torch.zeros(2)}))


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_what_stands_beside_the_weights_is_left_over(tmp_path: Path, wrapper: str) -> None:
    content = {wrapper: {"module.a": torch.ones(2)}, "epoch": 7, "optimizer": {"state": {}}}
    file = read_state(saved(tmp_path / "some.pth", content))
    assert file.state.keys() == {"a"}
    assert file.left_over == (("epoch", "not weights"), ("optimizer", "not weights"))


def test_what_is_no_plain_tensor_is_left_over(tmp_path: Path) -> None:
    content = {"a": torch.ones(2), "sparse": torch.eye(3).to_sparse(), "epoch": 7, 5: "five"}
    file = read_state(saved(tmp_path / "some.pth", content))
    assert file.state.keys() == {"a"}
    assert [name for name, _ in file.left_over] == ["sparse", "epoch", "5"]
    assert {words for _, words in file.left_over} == {"no plain tensor"}


def test_the_leftovers_of_old_published_files_are_dropped(tmp_path: Path) -> None:
    kept = {
        "backbone.layers.0.0.conv1.weight": torch.ones(2),
        "fpn.downsample_layers.0.weight": torch.ones(2),
        "fpn.downsample_layers.1.weight": torch.ones(2),
    }
    old = {f"backbone.layer{stage}.0.conv1.weight": torch.ones(2) for stage in (1, 4)}
    unused = {f"fpn.downsample_layers.{level}.weight": torch.ones(2) for level in (2, 3, 10)}
    file = read_state(saved(tmp_path / "some.pth", {**old, **kept, **unused}, legacy=True))
    assert file.state.keys() == kept.keys()
    told = dict(file.left_over)
    assert told.keys() == {*old, *unused}
    assert {told[name] for name in old} == {"an old name of what backbone.layers holds"}
    assert {told[name] for name in unused} == {"of a pyramid level above P7, which no network has"}


def test_a_file_that_has_only_the_old_names_keeps_them(tmp_path: Path) -> None:
    file = read_state(saved(tmp_path / "some.pth", {"backbone.layer1.0.conv1.weight": torch.ones(2)}))
    assert file.state.keys() == {"backbone.layer1.0.conv1.weight"}


def test_tensors_that_share_memory_come_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    content = {"whole": whole, "same": whole, "part": whole[:4], "turned": whole.view(3, 4).t()}
    state = read_state(saved(tmp_path / "some.pth", content)).state
    expected = {name: tensor.clone() for name, tensor in content.items()}
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    state["whole"].zero_()
    assert torch.equal(state["same"], expected["same"])


def test_parameters_are_read_as_plain_tensors(tmp_path: Path) -> None:
    file = read_state(saved(tmp_path / "some.pth", {"a": torch.nn.Parameter(torch.ones(2))}))
    assert type(file.state["a"]) is torch.Tensor
    assert not file.state["a"].requires_grad


def test_a_checkpoint_of_ours_brings_its_configuration_and_history(tmp_path: Path) -> None:
    network, path = seeded_network(), tmp_path / "last.pt"
    save_checkpoint(path, network, step=7, data=["3 pictures"], optimiser={"state": {}}, optimiser_name="sgd")
    file = read_state(path)
    assert file.config == TINY
    assert file.progress == {"step": 7, "data": ["3 pictures"]}
    assert file.left_over == (("optimiser", "not weights"), ("optimiser_name", "not weights"))
    assert all(torch.equal(file.state[name], tensor) for name, tensor in network.state_dict().items())


def test_another_configuration_is_told(tmp_path: Path) -> None:
    content = {"config": {"fpn_channels": "wide"}, "model": {"a": torch.ones(2)}}
    with pytest.raises(DataError, match="does not hold a configuration that StreetMask knows"):
        read_state(saved(tmp_path / "some.pth", content))


@pytest.mark.parametrize("progress", [{"step": "many"}, {"data": "pictures"}, {"thresholds": [0.5] * 7 + [None]}])
def test_another_kind_of_progress_is_told(tmp_path: Path, progress: dict[str, Any]) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, seeded_network(), **progress)
    with pytest.raises(DataError, match="does not hold a progress that StreetMask knows"):
        read_state(path)


def test_thresholds_are_one_a_class(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, seeded_network(), thresholds=[0.5] * TINY.class_count)
    assert read_state(path).progress == {"thresholds": [0.5] * TINY.class_count}
    save_checkpoint(path, seeded_network(), thresholds=[0.5])
    with pytest.raises(DataError, match="has 1 drawing thresholds for 8 classes"):
        read_state(path)


@pytest.mark.parametrize("config", [TINY, replace(TINY, class_names=("a", "b"), rescoring_channels=())])
def test_safetensors_round_trip(tmp_path: Path, config: YolactConfig) -> None:
    network, path = seeded_network(config), tmp_path / "deeper" / "mine.safetensors"
    save_safetensors(path, network, {"step": 7, "data": ["3 pictures"]})
    other = tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode, "as readable as any file"
    file = read_state(path)
    assert file.format == "safetensors"
    assert file.config == config
    assert file.progress == {"step": 7, "data": ["3 pictures"]}
    assert not file.left_over
    assert file.state.keys() == network.state_dict().keys()
    assert all(torch.equal(file.state[name], tensor) for name, tensor in network.state_dict().items())
    assert [each.name for each in path.parent.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize("about", ["no json", json.dumps([1]), json.dumps({"config": asdict(TINY) | {"anchors": 3}})])
def test_a_damaged_configuration_in_safetensors(tmp_path: Path, about: str) -> None:
    path = tmp_path / "some.safetensors"
    save_file(TENSORS, path, metadata={"streetmask": about})
    with pytest.raises(DataError, match=r"damaged, cut off|does not hold a configuration"):
        read_state(path)
