"""So many workers at a time."""

import asyncio
from pathlib import Path

import pytest

from scene.errors import ArtifactError, ServerError
from serve import crew as crew_module
from serve.crew import Crew
from serve.orders import Listen
from serve.pipe import PeerGoneError
from serve.repository import Repository
from serve.settings import ServerSettings
from serve.worker import Post
from serve.worker_process import WorkerProcess
from tests.serve.conftest import PATIENCE_S
from tests.serve.fake_workers import FakeWorker, FakeWorkers


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    workers = FakeWorkers()
    monkeypatch.setattr(crew_module, "WorkerProcess", workers)
    monkeypatch.setattr(crew_module, "_FIRST_PAUSE_S", 0.001)
    return workers


def of_two(lost: list[int] | None = None) -> Crew:
    posts = [Post(number, ServerSettings(workers=2), Repository(Path("none")), Path("none")) for number in range(2)]
    return Crew(posts, bring_up, nothing, (lost if lost is not None else []).append)


async def nothing(_: object) -> None:
    return None


async def bring_up(worker: WorkerProcess) -> None:
    await worker.order(Listen())
    worker.listening = True


async def until_there_are(count: int, workers: FakeWorkers) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(workers.all) < count or not all(worker.listening or worker.dead for worker in workers.all):
            await asyncio.sleep(0.001)


async def test_before_anybody_is_up_nobody_is_called(workers: FakeWorkers) -> None:
    with pytest.raises(ServerError, match="no worker of this server is up"):
        _ = of_two().listening


async def test_a_crew_is_complete_when_all_are_up_and_dismissed_whole(workers: FakeWorkers) -> None:
    crew = of_two()
    await crew.assemble()
    assert [worker.number for worker in crew.listening] == [0, 1]
    assert crew.pids == [1_000_000, 1_000_001]
    await crew.dismiss(1.0)
    assert all(worker.dead for worker in workers.all)
    assert crew.pids == []


async def test_whoever_ends_is_replaced_at_the_same_post_and_told_of(workers: FakeWorkers) -> None:
    lost: list[int] = []
    crew = of_two(lost)
    await crew.assemble()
    workers.all[1].kill()
    await until_there_are(3, workers)
    assert [(worker.number, worker.pid) for worker in crew.listening] == [(0, 1_000_000), (1, 1_000_002)]
    assert lost == [1_000_001]
    await crew.dismiss(1.0)


async def test_what_keeps_the_first_from_coming_up_is_raised(workers: FakeWorkers) -> None:
    async def damaged(worker: FakeWorker, order: object) -> None:
        raise ArtifactError("the model is damaged")

    workers.answer = damaged
    crew = of_two()
    with pytest.raises(ArtifactError, match="damaged"):
        await crew.assemble()
    await crew.dismiss(1.0)


async def test_a_worker_that_never_comes_up_again_is_tried_again_as_long_as_another_answers(
    workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = True

    async def only_the_first(worker: FakeWorker, order: object) -> None:
        if worker.life == 2:
            raise PeerGoneError("it died")
        if worker.life > 2 and damaged:
            raise ArtifactError("the model is damaged by now")

    monkeypatch.setattr(crew_module, "_LONGEST_PAUSE_S", 0.001)
    workers.answer = only_the_first
    crew = of_two()
    await crew.assemble()
    staying = asyncio.create_task(crew.stay())
    workers.all[0].kill()
    await until_there_are(2 + 8, workers)
    assert not staying.done()
    assert [worker.number for worker in crew.listening] == [1]
    assert any("worker 0 ended 5 times before it was ready" in message for message in caplog.messages)
    damaged = False
    async with asyncio.timeout(PATIENCE_S):
        while len(crew.listening) < 2:
            await asyncio.sleep(0.001)
    assert not staying.done()
    staying.cancel()
    await crew.dismiss(1.0)


async def test_a_crew_of_which_none_comes_up_again_ends(workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def only_the_first(worker: FakeWorker, order: object) -> None:
        if worker.life > 1:
            raise ArtifactError("the model is damaged by now")

    monkeypatch.setattr(crew_module, "_LONGEST_PAUSE_S", 0.001)
    workers.answer = only_the_first
    crew = of_two()
    await crew.assemble()
    for worker in list(workers.all):
        worker.kill()
    with pytest.raises(ServerError, match=r"worker \d ended \d+ times before it was ready"):
        async with asyncio.timeout(PATIENCE_S):
            await crew.stay()
    assert len(workers.all) >= 2 + 2 * 5
    await crew.dismiss(1.0)


async def test_pauses_grow_to_a_bound_while_workers_keep_ending(
    workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    own = asyncio.get_running_loop()

    async def note(pause_s: float) -> None:
        if asyncio.get_running_loop() is not own:  # a server's, of the whole session
            return await sleep(pause_s)
        pauses.append(pause_s)
        await sleep(0)

    monkeypatch.setattr(crew_module, "_FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(asyncio, "sleep", note)
    crew = of_two()
    await crew.assemble()
    for life in range(9):
        last = workers.all[-1] if life else workers.all[0]
        last.kill()
        while workers.all[-1] is last or not workers.all[-1].listening or len(workers.all) < life + 3:
            await sleep(0)
    await crew.dismiss(1.0)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
