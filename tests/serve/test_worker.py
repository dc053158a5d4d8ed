"""A worker's answers to its orders."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scene.errors import UnknownModelError
from serve.client import Client
from serve.deployment import Deployment, ModelStatus
from serve.orders import Abandon, Commit, Listen, Prepare, Unload
from serve.pipe import PeerGoneError
from serve.port import reserved_port
from serve.repository import Repository
from serve.settings import ServerSettings
from serve.worker import Post, Worker
from serve.worker_process import WorkerProcess
from tests.serve.conftest import PATIENCE_S
from tests.serve.test_server import SERVING, health_of
from tests.serve.tiny_model import street, write_tiny_model

RED = street((0, (32, 16, 64, 48)))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    root = tmp_path_factory.mktemp("repository")
    for version in (1, 2):
        write_tiny_model(root / "tiny" / str(version), version=version)
    return Repository(root)


def post(repository: Repository, folder: Path, port: int = 0) -> Post:
    settings = ServerSettings(port=port, workers=2, threads=1, engine="onnxruntime", drain_s=5)
    return Post(1, settings, repository, folder)


@asynccontextmanager
async def worker_of(post: Post) -> AsyncIterator[Worker]:
    worker = Worker(post)
    yield worker
    await worker.stop()


async def test_what_is_not_there_is_not_prepared(repository: Repository, tmp_path: Path) -> None:
    async with worker_of(post(repository, tmp_path)) as worker:
        with pytest.raises(UnknownModelError):
            await worker.obey(Prepare(0, Deployment("none")))
        assert await worker.obey(Abandon(0)) is None  # nothing was prepared


async def test_a_worker_answers_with_what_it_switched_to(repository: Repository, tmp_path: Path) -> None:
    with reserved_port("127.0.0.1", 0) as port:
        async with worker_of(post(repository, tmp_path, port)) as worker:
            status = await worker.obey(Prepare(0, Deployment("tiny", 1)))
            assert isinstance(status, ModelStatus)
            assert (status.version, status.current, status.runs_on) == (1, True, "onnxruntime in float32")
            await worker.obey(Commit(0))
            await worker.obey(Listen())
            assert await asyncio.to_thread(health_of, f"127.0.0.1:{port}") == SERVING
            with Client(f"127.0.0.1:{port}") as client:
                assert (await asyncio.to_thread(client.segment, RED)).model_version == 1
                await worker.obey(Prepare(1, Deployment("tiny", keep_others=True)))
                assert (await asyncio.to_thread(client.segment, RED)).model_version == 1  # not yet
                await worker.obey(Commit(1))
                assert (await asyncio.to_thread(client.segment, RED)).model_version == 2
                again = await worker.obey(Prepare(2, Deployment("tiny", 1, keep_others=True)))
                assert again == status  # loaded already
                await worker.obey(Abandon(2))
                assert (await asyncio.to_thread(client.segment, RED)).model_version == 2
                await worker.obey(Unload("tiny", 1))
                with pytest.raises(UnknownModelError):
                    await worker.obey(Unload("tiny", 1))


async def test_a_process_does_as_it_is_told_and_ends_when_its_supervisor_hangs_up(
    repository: Repository, tmp_path: Path
) -> None:
    process = WorkerProcess(post(repository, tmp_path))
    await process.connect(process.order)
    os.kill(process.pid, signal.SIGINT)  # Ctrl-C, which reaches the whole group, is not for it
    await process.ask(Prepare(0, Deployment("tiny", 2)), ModelStatus)
    assert list(tmp_path.glob(f"*_{process.pid}.db"))  # it counts where it is told to
    assert await process.ended(PATIENCE_S) == "ended with status 0"
    assert list(tmp_path.glob(f"*_{process.pid}.db"))  # and what it counted outlives it


async def test_a_process_that_hangs_is_killed_and_one_that_is_gone_says_so(
    repository: Repository, tmp_path: Path
) -> None:
    process = WorkerProcess(post(repository, tmp_path))
    await process.connect(process.order)
    os.kill(process.pid, signal.SIGSTOP)
    assert await process.ended(patience_s=0.1) == "was ended by SIGKILL"
    with pytest.raises(PeerGoneError):
        await process.order(Abandon(0))
