"""Several processes that are kept alike: what becomes of a deployment, whoever fails or dies on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scene.errors import ArtifactError, ServerError, UnknownModelError
from serve import crew as crew_module
from serve import supervisor as supervisor_module
from serve.deployment import Deployment, ModelStatus
from serve.orders import Abandon, Commit, Deploy, Listen, ListModels, Prepare, Unload
from serve.repository import Repository
from serve.settings import ServerSettings, usable_cpus
from serve.start import Start
from serve.supervisor import Supervisor, share
from tests.serve.conftest import PATIENCE_S
from tests.serve.fake_workers import FakeWorker, FakeWorkers


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    workers = FakeWorkers()
    monkeypatch.setattr(crew_module, "WorkerProcess", workers)
    monkeypatch.setattr(crew_module, "_FIRST_PAUSE_S", 0.001)
    return workers


@asynccontextmanager
async def supervisor(folder: Path, initial: list[Deployment] | None = None) -> AsyncIterator[Supervisor]:
    start = Start(Repository(folder), [Deployment("tiny", 1)] if initial is None else initial)
    supervisor = Supervisor(start, ServerSettings(workers=3), 50051, folder)
    await supervisor.start()
    yield supervisor
    await supervisor.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


def orders(worker: FakeWorker, *kinds: type) -> list[object]:
    return [order for order in worker.orders if isinstance(order, kinds)]


def wanted_of(worker: FakeWorker) -> list[Deployment]:
    return [order.wanted for order in worker.orders if isinstance(order, Prepare)]


async def test_all_load_what_the_first_found_and_listen_only_then(workers: FakeWorkers, tmp_path: Path) -> None:
    async with supervisor(tmp_path, [Deployment("tiny"), Deployment("town", 4)]) as crew:
        assert [(each.name, each.version) for each in await crew.models()] == [("tiny", 7), ("town", 4)]
        first, *others = workers.all
        assert wanted_of(first) == [Deployment("tiny"), Deployment("town", 4)]
        for worker in others:
            found = sorted((wanted.name, wanted.version, wanted.runs_on) for wanted in wanted_of(worker))
            assert found == [("tiny", 7, "engine 0"), ("town", 4, "engine 0")]
        assert all(isinstance(worker.orders[-1], Listen) for worker in workers.all)


async def test_a_deployment_is_prepared_by_all_before_any_switches(workers: FakeWorkers, tmp_path: Path) -> None:
    async with supervisor(tmp_path) as crew:
        log: list[tuple[str, int]] = []

        async def note(worker: FakeWorker, order: object) -> None:
            log.append((type(order).__name__, worker.number))
            await asyncio.sleep(0)

        workers.answer = note
        status = await crew.deploy(Deployment("tiny", 2))
        assert log[0] == ("Prepare", 0)  # it chooses the engine
        assert sorted(log[1:3]) == [("Prepare", 1), ("Prepare", 2)]
        assert sorted(log[3:]) == [("Commit", 0), ("Commit", 1), ("Commit", 2)]
        assert status == ModelStatus("tiny", 2, True, "engine 0", 1.0)
        assert await crew.models() == [status]


@pytest.mark.parametrize("failing", [0, 2])
async def test_what_one_cannot_prepare_is_abandoned_by_all(workers: FakeWorkers, tmp_path: Path, failing: int) -> None:
    async def damaged(worker: FakeWorker, order: object) -> None:
        if isinstance(order, Prepare) and worker.number == failing:
            raise ArtifactError("the model is damaged")

    async with supervisor(tmp_path) as crew:
        before = await crew.models()
        workers.answer = damaged
        commits = [orders(worker, Commit) for worker in workers.all]
        with pytest.raises(ArtifactError, match="damaged"):
            await crew.deploy(Deployment("tiny", 2))
        assert await crew.models() == before
        assert [orders(worker, Commit) for worker in workers.all] == commits
        assert all(orders(worker, Abandon) for worker in workers.all)
        assert len(workers.all) == 3  # nobody had to be replaced
        workers.answer = None
        assert (await crew.deploy(Deployment("tiny", 3))).version == 3


async def test_a_worker_that_dies_while_it_loads_leaves_everything_as_it_was(
    workers: FakeWorkers, tmp_path: Path
) -> None:
    async def die(worker: FakeWorker, order: object) -> None:
        if isinstance(order, Prepare) and order.wanted.version == 2:
            workers.all[1].kill()

    async with supervisor(tmp_path) as crew:
        before = await crew.models()
        workers.answer = die
        with pytest.raises(ServerError, match="died while it loaded tiny; nothing has changed"):
            await crew.deploy(Deployment("tiny", 2))
        assert await crew.models() == before
        await until(lambda: len(workers.all) == 4 and workers.all[3].listening)
        assert [wanted.version for wanted in wanted_of(workers.all[3])] == [1]


@pytest.mark.parametrize("death", [True, False])
async def test_a_worker_that_fails_to_switch_is_replaced_by_one_that_has(
    workers: FakeWorkers, tmp_path: Path, death: bool
) -> None:
    async def fail(worker: FakeWorker, order: object) -> None:
        if isinstance(order, Commit) and worker.life == 2:
            if death:
                worker.kill()
            else:
                raise ServerError("it is stopping")

    async with supervisor(tmp_path) as crew:
        workers.answer = fail
        assert (await crew.deploy(Deployment("tiny", 2))).version == 2
        await until(lambda: len(workers.all) == 4 and workers.all[3].listening)
        assert workers.all[2].dead and not workers.all[0].dead
        assert [wanted.version for wanted in wanted_of(workers.all[3])] == [2]
        assert [each.version for each in await crew.models()] == [2]


@pytest.mark.parametrize("kind", [Prepare, Commit, Unload])
async def test_a_worker_that_hangs_at_an_order_is_replaced_and_holds_up_nobody(
    workers: FakeWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    async def hang(worker: FakeWorker, order: object) -> None:
        if isinstance(order, kind) and worker.life == 1:
            await asyncio.Event().wait()

    async with supervisor(tmp_path, [Deployment("tiny", 1), Deployment("town", 4)]) as crew:
        monkeypatch.setattr(supervisor_module, "_PREPARE_S", 0.01)
        monkeypatch.setattr(supervisor_module, "_CLOSE_S", 0.01 - ServerSettings().drain_s)
        workers.answer = hang
        async with asyncio.timeout(PATIENCE_S):
            if kind is Prepare:
                with pytest.raises(ServerError, match=r"worker 1 did not do Prepare\(.* within 0.01 s, and was ended"):
                    await crew.deploy(Deployment("tiny", 2))
            elif kind is Commit:
                await crew.deploy(Deployment("tiny", 2))
            else:
                await crew.unload("town", 0)
        assert workers.all[1].dead and not workers.all[0].dead
        await until(lambda: len(workers.all) == 4 and workers.all[3].listening)
        assert (await crew.deploy(Deployment("tiny", 3))).version == 3


@pytest.mark.parametrize("kind", [Prepare, Commit, Listen])
async def test_a_worker_that_hangs_while_it_comes_up_is_replaced(
    workers: FakeWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    async def hang(worker: FakeWorker, order: object) -> None:
        if isinstance(order, kind) and worker.life == 3:
            await asyncio.Event().wait()

    async with supervisor(tmp_path) as crew:
        monkeypatch.setattr(supervisor_module, "_PREPARE_S", 0.01)
        monkeypatch.setattr(supervisor_module, "_CLOSE_S", 0.01 - ServerSettings().drain_s)
        workers.answer = hang
        workers.all[0].kill()
        await until(lambda: len(workers.all) == 5 and workers.all[4].listening)
        assert (await crew.deploy(Deployment("tiny", 2))).version == 2


async def test_a_worker_that_loads_while_others_switch_listens_with_the_new(
    workers: FakeWorkers, tmp_path: Path
) -> None:
    loading, go_on = asyncio.Event(), asyncio.Event()

    async def slow(worker: FakeWorker, order: object) -> None:
        if worker.life == 3 and isinstance(order, Prepare) and not loading.is_set():
            loading.set()
            await go_on.wait()

    async with supervisor(tmp_path) as crew:
        workers.answer = slow
        workers.all[1].kill()
        await loading.wait()
        assert (await crew.deploy(Deployment("tiny", 2))).version == 2  # nobody waits for one that loads
        go_on.set()
        await until(lambda: workers.all[3].listening)
        kinds = [type(order) for order in workers.all[3].orders]
        assert kinds == [Prepare, Commit, Prepare, Commit, Unload, Listen]
        assert [wanted.version for wanted in wanted_of(workers.all[3])] == [1, 2]


async def test_a_worker_that_comes_up_while_others_load_loads_it_too_before_any_switches(
    workers: FakeWorkers, tmp_path: Path
) -> None:
    loading, go_on = asyncio.Event(), asyncio.Event()
    log: list[tuple[str, int]] = []

    async def slow(worker: FakeWorker, order: object) -> None:
        log.append((type(order).__name__, worker.life))
        if worker.life == 0 and isinstance(order, Prepare):
            loading.set()
            await go_on.wait()

    async with supervisor(tmp_path) as crew:
        workers.all[1].kill()
        workers.answer = slow
        deployment = asyncio.create_task(crew.deploy(Deployment("tiny", 2)))
        await loading.wait()
        await until(lambda: len(workers.all) == 4 and workers.all[3].listening)  # nothing that loads keeps it from that
        log.clear()
        go_on.set()
        assert (await deployment).version == 2
        assert log == [("Prepare", 2), ("Prepare", 3), ("Commit", 0), ("Commit", 2), ("Commit", 3)]


async def test_what_one_refuses_to_unload_is_asked_of_no_other(workers: FakeWorkers, tmp_path: Path) -> None:
    async def refuse(worker: FakeWorker, order: object) -> None:
        if isinstance(order, Unload):
            raise UnknownModelError("model_name", "no such model")

    async with supervisor(tmp_path) as crew:
        workers.answer = refuse
        with pytest.raises(UnknownModelError):
            await crew.unload("town", 0)
        assert [len(orders(worker, Unload)) for worker in workers.all] == [1, 0, 0]
        assert len(workers.all) == 3


async def test_what_is_unloaded_is_unloaded_by_all(workers: FakeWorkers, tmp_path: Path) -> None:
    async with supervisor(tmp_path, [Deployment("tiny", 1), Deployment("town", 4)]) as crew:
        await crew.unload("town", 0)
        assert [orders(worker, Unload) for worker in workers.all] == [[Unload("town", 0)]] * 3
        assert [each.name for each in await crew.models()] == ["tiny"]


async def test_a_worker_asks_on_behalf_of_its_caller(workers: FakeWorkers, tmp_path: Path) -> None:
    async with supervisor(tmp_path, [Deployment("tiny", 1), Deployment("town", 4)]) as crew:
        ask = workers.all[2].request
        assert await ask(Deploy(Deployment("tiny", 2))) == ModelStatus("tiny", 2, True, "engine 0", 1.0)
        assert await ask(Unload("town", 0)) is None
        assert await ask(ListModels()) == await crew.models()


async def test_whoever_replaces_a_worker_has_the_same_default(workers: FakeWorkers, tmp_path: Path) -> None:
    async with supervisor(tmp_path, [Deployment("tiny", 1), Deployment("town", 4)]) as crew:
        await crew.deploy(Deployment("tiny", 2))  # is loaded after town by whoever comes now
        workers.all[0].kill()
        await until(lambda: len(workers.all) == 4 and workers.all[3].listening)
        assert [worker.post.default for worker in workers.all] == ["tiny"] * 4


async def test_the_lost_are_counted(workers: FakeWorkers, tmp_path: Path) -> None:
    async with supervisor(tmp_path) as crew:
        workers.all[0].kill()
        await until(lambda: len(workers.all) == 4 and workers.all[3].listening)
        assert crew.metrics.registry.get_sample_value("streetmask_workers_lost_total") == 1
        assert crew.metrics.registry.get_sample_value("streetmask_workers") == 3


def test_the_processors_are_shared_and_what_is_asked_for_is_given_to_each() -> None:
    assert share(ServerSettings(workers=64), 50051).threads == 1
    assert share(ServerSettings(workers=2), 50051).threads == max(1, usable_cpus() // 2)
    asked = share(ServerSettings(workers=2, threads=5, port=0, metrics_port=9090), 50051)
    assert (asked.threads, asked.port, asked.metrics_port) == (5, 50051, 0)
