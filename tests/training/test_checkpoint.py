import resource
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scene.errors import DataError
from tests.model.tiny_network import TINY, seeded_network
from training.checkpoint import load_network, read_checkpoint, save_checkpoint


class Carrier:
    """Code in a pickle: reading it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none; train one with"):
        read_checkpoint(tmp_path / "none.pt")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        load_network(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(50)])
def test_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged, cut off or no weight file"):
        read_checkpoint(path)


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, seeded_network())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="damaged"):
        load_network(path)


def test_round_trip(tmp_path: Path) -> None:
    network = seeded_network()
    path = tmp_path / "deeper" / "last.pt"
    save_checkpoint(path, network.train(), step=7, data=["3 pictures"], torch_rng=torch.get_rng_state())
    content = read_checkpoint(path)
    assert content["step"] == 7
    assert content["data"] == ["3 pictures"]
    assert torch.equal(content["torch_rng"], torch.get_rng_state())
    loaded = load_network(path)
    assert loaded.config == TINY
    assert not loaded.training
    state = network.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_a_failure_while_saving_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, seeded_network(), step=1)

    def fails(content: dict[str, Any], stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fails)
        with pytest.raises(OSError, match="no space left"):
            save_checkpoint(path, seeded_network(), step=2)
    assert read_checkpoint(path)["step"] == 1
    save_checkpoint(path, seeded_network(), step=3)
    assert read_checkpoint(path)["step"] == 3


def test_a_file_that_carries_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, made = tmp_path / "last.pt", tmp_path / "made"
    torch.save({"config": asdict(TINY), "model": Carrier(made)}, path)
    with pytest.raises(DataError, match=r"asks for \S+, which is no tensor and could run code: refused"):
        read_checkpoint(path)
    assert not made.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": {}}, {"config": {}}, {}])
def test_a_file_of_something_else(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "last.pt"
    torch.save(content, path)
    with pytest.raises(DataError, match="expected a config and a model"):
        read_checkpoint(path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    config = asdict(replace(TINY, prototypes=TINY.prototypes + 1))
    torch.save({"config": config, "model": seeded_network().state_dict()}, path)
    with pytest.raises(DataError, match="does not hold this network"):
        load_network(path)


@pytest.mark.parametrize("change", [{"fpn_channels": "wide"}, {"anchors": None}, {"size_hw": (64,)}])
def test_a_configuration_of_the_wrong_kind(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "last.pt"
    torch.save({"config": {**asdict(TINY), **change}, "model": seeded_network().state_dict()}, path)
    with pytest.raises(DataError, match="does not hold a configuration that StreetMask knows"):
        load_network(path)


def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, seeded_network(), step=1)
    path.with_suffix(".partial").symlink_to("/dev/full")
    with pytest.raises(DataError, match=rf"cannot write {path}: No space left on device; what was saved"):
        save_checkpoint(path, seeded_network(), step=2)
    assert read_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"], "half a file must not hold the space"
    save_checkpoint(path, seeded_network(), step=3)
    assert read_checkpoint(path)["step"] == 3


def test_a_file_that_may_not_grow_is_told_of_too(tmp_path: Path) -> None:
    """Torch answers the system's error, which comes in the middle of a file, with one of its own."""
    path, limits = tmp_path / "last.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(DataError, match=rf"cannot write {path}: File too large"):
            save_checkpoint(path, seeded_network())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
