"""New versions in a repository are deployed by themselves, and what does not load is told once."""

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scene.artifact import MANIFEST
from scene.errors import ArtifactError, ServerError
from serve import crew as crew_module
from serve import server as server_module
from serve import supervisor as supervisor_module
from serve.client import Client
from serve.deployment import Deployment, LocalDeployer, ModelStatus, Prepared
from serve.orders import Prepare
from serve.repository import Repository
from serve.server import serve
from serve.supervisor import supervise
from serve.watcher import Watcher
from tests.serve.conftest import PATIENCE_S
from tests.serve.fake_workers import FakeWorker, FakeWorkers
from tests.serve.repository_server import serving, settings, write_repository
from tests.serve.test_server import eventually
from tests.serve.tiny_model import street


@dataclass
class FakeDeployer:
    """Notes what it is asked for; refuses the versions in ``bad``, and all while it is ``down``."""

    asked: list[tuple[str, int]] = field(default_factory=list)
    bad: set[int] = field(default_factory=set)
    loaded: list[ModelStatus] = field(default_factory=list)
    down: bool = False

    async def deploy(self, wanted: Deployment) -> ModelStatus:
        self.asked.append((wanted.name, wanted.version))
        if self.down:
            raise ServerError("no worker of this server is up just now; try again")
        if wanted.version in self.bad:
            raise ArtifactError(f"version {wanted.version} is damaged")
        return ModelStatus(wanted.name, wanted.version, True, "", 0.0)

    async def unload(self, name: str, version: int) -> None:
        raise AssertionError("a watcher unloads nothing")

    async def models(self) -> list[ModelStatus]:
        return self.loaded


@pytest.fixture
def deployer() -> FakeDeployer:
    return FakeDeployer()


def add(root: Path, *versions: int, name: str = "tiny") -> None:
    for version in versions:
        folder = root / name / str(version)
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("{}")


async def test_an_empty_repository_deploys_nothing_until_something_comes(
    tmp_path: Path, deployer: FakeDeployer
) -> None:
    watcher = Watcher(Repository(tmp_path), deployer)
    await watcher.look()
    assert deployer.asked == []
    add(tmp_path, 1)
    await watcher.look()
    await watcher.look()
    assert deployer.asked == [("tiny", 1)]


async def test_only_versions_higher_than_all_before_are_deployed(tmp_path: Path, deployer: FakeDeployer) -> None:
    add(tmp_path, 1, 5)
    watcher = Watcher(Repository(tmp_path), deployer)
    add(tmp_path, 3)
    (tmp_path / "tiny" / "9").mkdir()
    await watcher.look()
    assert deployer.asked == []
    add(tmp_path, 6, 7, 10)
    await watcher.look()
    assert deployer.asked == [("tiny", 10)]
    add(tmp_path, 1, name="other")
    await watcher.look()
    assert deployer.asked == [("tiny", 10), ("other", 1)]


async def test_of_one_name_alone_others_are_left(tmp_path: Path, deployer: FakeDeployer) -> None:
    add(tmp_path, 1)
    watcher = Watcher(Repository(tmp_path), deployer, "tiny")
    add(tmp_path, 2)
    add(tmp_path, 2, name="other")
    await watcher.look()
    assert deployer.asked == [("tiny", 2)]


async def test_what_fails_is_told_once_and_the_next_best_taken_until_it_changes(
    tmp_path: Path, deployer: FakeDeployer, caplog: pytest.LogCaptureFixture
) -> None:
    add(tmp_path, 1)
    watcher = Watcher(Repository(tmp_path), deployer)
    add(tmp_path, 2, 3)
    deployer.bad = {3}
    for _ in range(3):
        await watcher.look()
    assert deployer.asked == [("tiny", 3), ("tiny", 2)]
    assert caplog.messages == ["tiny version 3 is not deployed: version 3 is damaged"]
    (tmp_path / "tiny" / "3" / "model.onnx").write_text("the rest of it")
    deployer.bad = set()
    for _ in range(3):
        await watcher.look()
    assert deployer.asked == [("tiny", 3), ("tiny", 2), ("tiny", 3)]


async def test_what_fails_for_the_server_is_tried_again_at_ever_fewer_looks_and_nothing_older_instead(
    tmp_path: Path, deployer: FakeDeployer
) -> None:
    add(tmp_path, 1)
    watcher = Watcher(Repository(tmp_path), deployer)
    add(tmp_path, 2, 3)
    deployer.down = True
    tries = []
    for look in range(200):
        before = len(deployer.asked)
        await watcher.look()
        tries += [look] * (len(deployer.asked) - before)
    assert tries == [0, 1, 3, 7, 15, 31, 63, 127, 191]
    deployer.down = False
    for _ in range(64):
        await watcher.look()
    assert deployer.asked == [("tiny", 3)] * 10


async def test_what_was_deployed_by_hand_is_not_deployed_again(tmp_path: Path, deployer: FakeDeployer) -> None:
    add(tmp_path, 1)
    watcher = Watcher(Repository(tmp_path), deployer)
    add(tmp_path, 2)
    deployer.loaded = [ModelStatus("tiny", 2, False, "", 0.0)]
    await watcher.look()
    deployer.loaded = []
    await watcher.look()
    assert deployer.asked == []


async def test_a_folder_that_is_lost_for_a_while_is_told_once(
    tmp_path: Path, deployer: FakeDeployer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, 1)
    watcher = Watcher(Repository(tmp_path), deployer)
    add(tmp_path, 2)
    with monkeypatch.context() as patched:

        def lost(_: Repository) -> list[str]:
            raise OSError("Stale file handle")

        patched.setattr(Repository, "names", lost)
        await watcher.look()
        await watcher.look()
    assert caplog.messages == ["the models' folder cannot be read: Stale file handle; the loaded models go on"]
    await watcher.look()
    assert deployer.asked == [("tiny", 2)]


async def test_looking_goes_on_after_a_look_that_failed(
    tmp_path: Path, deployer: FakeDeployer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, looks, twice = Watcher(Repository(tmp_path), deployer), 0, asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise RuntimeError("for no reason")
        twice.set()

    monkeypatch.setattr(watcher, "look", look)
    task = asyncio.create_task(watcher.run(0.01))
    await twice.wait()
    task.cancel()
    assert caplog.messages == ["a look at the models' folder failed"]


def test_a_server_deploys_what_is_published_and_what_is_copied_once_it_is_whole(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "models", 1)
    write_repository(tmp_path / "elsewhere", 2, 3)
    with serving(root, settings(watch_s=0.1)) as server:

        def current() -> int:
            (version,) = [loaded.pipeline.model.artifact.version for loaded, _ in server.server.models]
            return version

        assert current() == 1
        (tmp_path / "elsewhere" / "tiny" / "2").rename(root / "tiny" / "2")
        eventually(lambda: current() == 2)
        source, target = tmp_path / "elsewhere" / "tiny" / "3", root / "tiny" / "3"
        target.mkdir()
        for name in (MANIFEST, "golden.png", "model.onnx"):  # as a slow copy would
            assert current() == 2
            shutil.copy(source / name, target / name)
        eventually(lambda: current() == 3)


def test_a_new_name_keeps_answering_calls_that_name_none_with_the_first(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "models", 1)
    write_repository(tmp_path / "elsewhere", 2, name="another")
    with serving(root, settings(watch_s=0.1)) as server, Client(server.address) as client:
        (tmp_path / "elsewhere" / "another").rename(root / "another")
        eventually(lambda: server.server.models.holds("another", 2))
        assert client.segment(street()).model_name == "tiny"


async def test_a_version_that_is_published_while_the_server_loads_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_repository(tmp_path / "models", 1)
    write_repository(tmp_path / "elsewhere", 2)
    told_to_stop, deployed = asyncio.Event(), asyncio.Event()
    prepare = LocalDeployer.prepare

    async def publishing(deployer: LocalDeployer, wanted: Deployment) -> Prepared:
        if wanted.version == 1:
            (tmp_path / "elsewhere" / "tiny" / "2").rename(root / "tiny" / "2")
        else:
            deployed.set()
        return await prepare(deployer, wanted)

    monkeypatch.setattr(LocalDeployer, "prepare", publishing)
    monkeypatch.setattr(server_module, "stop_signals", lambda: told_to_stop)
    served = asyncio.create_task(serve(root, settings(watch_s=0.1), lambda _: None))
    async with asyncio.timeout(PATIENCE_S):
        await deployed.wait()
        told_to_stop.set()
        await served


async def test_a_version_that_is_published_while_workers_load_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, 1)
    told_to_stop, deployed = asyncio.Event(), asyncio.Event()

    async def publishing(worker: FakeWorker, order: object) -> None:
        if isinstance(order, Prepare) and order.wanted.version == 2:
            deployed.set()
        elif worker.life == 0 and isinstance(order, Prepare):
            add(tmp_path, 2)

    monkeypatch.setattr(crew_module, "WorkerProcess", FakeWorkers(publishing))
    monkeypatch.setattr(supervisor_module, "stop_signals", lambda: told_to_stop)
    served = asyncio.create_task(supervise(tmp_path, settings(workers=2, watch_s=0.1), lambda _: None))
    async with asyncio.timeout(PATIENCE_S):
        await deployed.wait()
        told_to_stop.set()
        await served
