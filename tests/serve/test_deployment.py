"""Prepare, switch, let go: and nothing has changed where anything fails."""

import asyncio
import inspect
import logging
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scene.artifact import MANIFEST
from scene.errors import ArtifactError, ConfigurationError, ServerError, StreetMaskError, UnknownModelError
from serve.answer import Answer, Options
from serve.deployment import Deployment, LocalDeployer
from serve.frame import EncodedFrame
from serve.model import Model
from serve.models import Models
from serve.repository import Repository
from serve.turns import Member
from tests.serve.conftest import PATIENCE_S
from tests.serve.repository_server import GAINS, settings, write_repository
from tests.serve.tiny_model import street, write_tiny_model

RED = EncodedFrame.raw(street((0, (32, 16, 64, 48))))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models", 1, 2)


@pytest_asyncio.fixture
async def models() -> AsyncIterator[Models]:
    made = Models()
    yield made
    await made.close()


@pytest.fixture
def deployer(models: Models, root: Path) -> LocalDeployer:
    return LocalDeployer(models, Repository(root), settings())


async def answer(models: Models, version: int = 0) -> Answer:
    options = Options(model_version=version)
    admitted = await models.admit(options, Member())
    return await admitted.answer(RED, options)


async def loaded(deployer: LocalDeployer) -> list[tuple[int, bool]]:
    return [(each.version, each.current) for each in await deployer.models()]


def score(answer: Answer) -> float:
    (instance,) = answer.instances
    return instance.score


async def test_nothing_is_loaded_at_first(deployer: LocalDeployer) -> None:
    assert await deployer.models() == []
    await deployer.start([])
    assert await deployer.models() == []


async def test_the_newest_version_is_deployed_and_answers_as_itself(deployer: LocalDeployer, models: Models) -> None:
    status = await deployer.deploy(Deployment("tiny"))
    assert (status.name, status.version, status.current) == ("tiny", 2, True)
    assert status.runs_on == "onnxruntime in float32"
    assert status.golden_ms > 0
    assert await deployer.models() == [status]
    assert score(await answer(models)) == pytest.approx(GAINS[2] * 2 / 3)


async def test_a_deployment_may_say_what_to_run_on(deployer: LocalDeployer) -> None:
    pytest.importorskip("openvino")
    runs_on = "openvino in float32"
    assert (await deployer.deploy(Deployment("tiny", 2, runs_on=runs_on))).runs_on == runs_on


async def test_another_version_takes_its_place_or_stands_beside_it(deployer: LocalDeployer, models: Models) -> None:
    await deployer.deploy(Deployment("tiny", 2))
    await deployer.deploy(Deployment("tiny", 1, keep_others=True))
    assert await loaded(deployer) == [(1, True), (2, False)]
    assert score(await answer(models)) == pytest.approx(1.0)
    assert score(await answer(models, version=2)) == pytest.approx(GAINS[2] * 2 / 3)
    await deployer.deploy(Deployment("tiny", 2))
    assert await loaded(deployer) == [(2, True)]


async def test_a_loaded_version_is_loaded_again_only_by_force(
    deployer: LocalDeployer, models: Models, root: Path
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    shutil.rmtree(root / "tiny" / "1")
    write_tiny_model(root / "tiny" / "1", version=1, gain=1.1)
    await deployer.deploy(Deployment("tiny", 1))
    assert score(await answer(models)) == pytest.approx(1.0)
    await deployer.deploy(Deployment("tiny", 1, force=True))
    assert score(await answer(models)) == pytest.approx(1.1 * 2 / 3)
    assert await loaded(deployer) == [(1, True)]


async def test_what_is_prepared_is_not_visible_until_it_is_committed(deployer: LocalDeployer, models: Models) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    prepared = await deployer.prepare(Deployment("tiny"))
    assert prepared.wanted == Deployment("tiny", 2)
    assert await loaded(deployer) == [(1, True)]
    deployer.abandon(prepared)
    assert await loaded(deployer) == [(1, True)]
    prepared = await deployer.prepare(Deployment("tiny"))
    status = await deployer.commit(prepared)
    assert (status.version, status.current) == (2, True)
    assert (await answer(models)).model_version == 2


async def test_what_is_abandoned_is_closed(deployer: LocalDeployer) -> None:
    others = set(threading.enumerate())
    prepared = await deployer.prepare(Deployment("tiny", 1))
    (engine,) = (thread for thread in set(threading.enumerate()) - others if thread.name == "engine-0")
    deployer.abandon(prepared)
    await asyncio.to_thread(engine.join, PATIENCE_S)
    assert not engine.is_alive()
    assert prepared.pipeline is not None
    assert prepared.pipeline.closed


def damaged(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")


def without_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


def answering_otherwise(folder: Path) -> None:
    shutil.rmtree(folder)
    write_tiny_model(folder, version=2, scores_off=0.1)


def leading_out(folder: Path) -> None:
    outside = folder.parents[2] / "outside.onnx"
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)


def oversized(folder: Path) -> None:
    with (folder / "large.bin").open("wb") as file:
        file.truncate((2048 << 20) + 1)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (damaged, "is damaged: its SHA-256 is not the one"),
        (without_manifest, "is damaged: "),
        (answering_otherwise, "answers its golden frame otherwise than when it was exported"),
        (leading_out, "leads out of the repository"),
        (oversized, "has more than 2048 MiB of files"),
    ],
)
async def test_a_version_that_cannot_be_served_changes_nothing(
    deployer: LocalDeployer, models: Models, root: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    before = await deployer.models()
    spoil(root / "tiny" / "2")
    for wanted in (Deployment("tiny"), Deployment("tiny", 2, keep_others=True, force=True)):
        with pytest.raises(ArtifactError, match=sentence):
            await deployer.deploy(wanted)
        assert await deployer.models() == before
        assert (await answer(models)).model_version == 1


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (Deployment("../tiny", 1), ConfigurationError),
        (Deployment("tiny", -1), ConfigurationError),
        (Deployment("tiny", 3), UnknownModelError),
        (Deployment("huge"), UnknownModelError),
    ],
)
async def test_what_is_not_in_the_repository_changes_nothing(
    deployer: LocalDeployer, wanted: Deployment, kind: type[StreetMaskError]
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    with pytest.raises(kind):
        await deployer.deploy(wanted)
    assert await loaded(deployer) == [(1, True)]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no kernel\nat line 3")])
async def test_an_engine_that_crashes_while_it_is_loaded_changes_nothing(
    deployer: LocalDeployer, models: Models, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await deployer.deploy(Deployment("tiny", 1))

    def crash(*_: object) -> Model:
        raise error

    monkeypatch.setattr(Model, "load", crash)
    with pytest.raises(ArtifactError, match=r"tiny/2 cannot be loaded: (MemoryError|no kernel); export it again"):
        await deployer.deploy(Deployment("tiny"))
    assert (await answer(models)).model_version == 1


async def test_a_full_batch_is_tried_before_anything_is_switched(
    models: Models, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer = LocalDeployer(models, Repository(root), settings(max_batch=4))
    await deployer.deploy(Deployment("tiny", 1))
    tried: list[int] = []

    def refuse(_: Model, batch: int) -> None:
        tried.append(batch)
        raise ArtifactError("tiny version 2 fails on a batch of 4")

    monkeypatch.setattr(Model, "warm_up", refuse)
    with pytest.raises(ArtifactError, match="fails on a batch of 4"):
        await deployer.deploy(Deployment("tiny"))
    assert tried == [4]
    assert await loaded(deployer) == [(1, True)]


class Held:
    """Loading that waits for the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.at_a_time = self.most = 0
        load = Model.load

        def held(*arguments: Any) -> Model:
            self.at_a_time += 1
            self.most = max(self.most, self.at_a_time)
            self.begun.release()
            assert self.gate.acquire(timeout=PATIENCE_S)
            self.at_a_time -= 1
            return load(*arguments)

        monkeypatch.setattr(Model, "load", held)

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE_S)


async def test_calls_are_answered_and_models_told_while_another_is_loaded_and_one_is_loaded_at_a_time(
    deployer: LocalDeployer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    held = Held(monkeypatch)
    deployments = [asyncio.create_task(deployer.deploy(Deployment("tiny", version, force=True))) for version in (2, 1)]
    await held.wait_begun()
    assert (await answer(models)).model_version == 1
    assert await loaded(deployer) == [(1, True)]
    held.gate.release(2)
    assert [(await each).version for each in deployments] == [2, 1]
    assert held.most == 1
    assert await loaded(deployer) == [(1, True)]


async def test_a_deployment_whose_caller_goes_away_is_done_all_the_same(
    deployer: LocalDeployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    held = Held(monkeypatch)
    leaving = asyncio.create_task(deployer.deploy(Deployment("tiny", 2)))
    await held.wait_begun()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    held.gate.release()
    await deployer.deploy(Deployment("tiny", 2))
    assert await loaded(deployer) == [(2, True)]


async def test_a_failure_that_nobody_waits_for_is_no_noise(
    deployer: LocalDeployer, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(monkeypatch)
    damaged(root / "tiny" / "2")
    leaving = asyncio.create_task(deployer.deploy(Deployment("tiny", 2)))
    await held.wait_begun()
    leaving.cancel()
    await asyncio.wait([leaving])
    held.gate.release(2)
    await deployer.deploy(Deployment("tiny", 1))
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_server_that_stops_gives_up_what_is_being_deployed(
    deployer: LocalDeployer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    held = Held(monkeypatch)
    deploying = [asyncio.create_task(deployer.deploy(Deployment("tiny", 2))) for _ in range(2)]
    await held.wait_begun()
    deployer.close()
    for each in deploying:
        with pytest.raises(ServerError, match="the server is stopping"):
            await each
    assert await loaded(deployer) == [(1, True)]
    held.gate.release()
    await models.close()
    with pytest.raises(ServerError, match="the server is stopping"):
        await deployer.commit(await prepared_elsewhere(deployer, held))


async def test_a_server_that_stops_begins_no_other_deployment(
    deployer: LocalDeployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployer.deploy(Deployment("tiny", 1))
    await deployer.deploy(Deployment("tiny", 2, keep_others=True))
    held = Held(monkeypatch)
    deployer.close()
    with pytest.raises(ServerError, match="the server is stopping"):
        await deployer.deploy(Deployment("tiny", 1, force=True))
    with pytest.raises(ServerError, match="the server is stopping"):
        await deployer.unload("tiny", 1)
    assert held.most == 0
    assert await loaded(deployer) == [(1, False), (2, True)]


async def test_a_deployment_that_is_given_up_before_its_first_step_is_closed(
    deployer: LocalDeployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not would be told of as never awaited."""
    begin, begun = deployer._deploy, []

    def note(wanted: Deployment) -> Any:
        begun.append(begin(wanted))
        return begun[-1]

    monkeypatch.setattr(deployer, "_deploy", note)
    deploying = asyncio.create_task(deployer.deploy(Deployment("tiny", 1)))
    await asyncio.sleep(0)  # its own task is made by now, and has not run
    deployer.close()
    with pytest.raises(ServerError, match="the server is stopping"):
        await deploying
    assert [inspect.getcoroutinestate(each) for each in begun] == [inspect.CORO_CLOSED]
    assert await deployer.models() == []


async def prepared_elsewhere(deployer: LocalDeployer, held: Held) -> Any:
    held.gate.release()
    return await deployer.prepare(Deployment("tiny", 2))


async def test_a_server_begins_with_all_of_its_models_or_none(deployer: LocalDeployer, root: Path) -> None:
    write_repository(root, 3, name="other")
    damaged(root / "tiny" / "2")
    with pytest.raises(ArtifactError, match="is damaged"):
        await deployer.start([Deployment("other"), Deployment("tiny")])
    assert await deployer.models() == []
    await deployer.start([Deployment("other"), Deployment("tiny", 1)])
    assert [(each.name, each.version) for each in await deployer.models()] == [("other", 3), ("tiny", 1)]


async def test_a_version_is_unloaded_and_its_number_is_gone(
    deployer: LocalDeployer, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await deployer.deploy(Deployment("tiny", 1))
    await deployer.deploy(Deployment("tiny", 2, keep_others=True))
    await deployer.unload("tiny", 1)
    assert await loaded(deployer) == [(2, True)]
    assert "unloaded: tiny version 1" in caplog.messages
    with pytest.raises(UnknownModelError, match="expected 2 or 0 for tiny, but 1 came"):
        await answer(models, version=1)
    with pytest.raises(ConfigurationError, match="the last model of this server"):
        await deployer.unload("tiny", 0)
