"""Several processes behind one port, seen from outside."""

import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from scene.errors import ServerError
from scene.image import RgbImage
from serve.admin_client import AdminClient
from serve.answer import Answer
from serve.client import Client, Received
from serve.deployment import Deployment
from serve.exchange import DropPolicy, StreamOptions
from streetmask.server_process import server_process
from tests.loopback import free_port
from tests.serve.conftest import PATIENCE_S
from tests.serve.test_server import eventually, serve_command
from tests.serve.tiny_model import street, write_tiny_model

RED = street((0, (32, 16, 64, 48)))
WORKERS = 2
CREW = ["--workers", str(WORKERS), "--threads", "1", "--engine", "onnxruntime", "--drain-s", "5"]


def captured(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


def family(pid: int) -> list[psutil.Process]:
    """A supervisor, its workers, and Python's own tracker of resources."""
    supervisor = psutil.Process(pid)
    return [supervisor, *supervisor.children(recursive=True)]


class Crew:
    """A server of two workers, seen from outside."""

    def __init__(self, address: str, pid: int, metrics_port: int) -> None:
        self.address = address
        self.pid = pid
        self._metrics_port = metrics_port

    @property
    def workers(self) -> set[int]:
        """The processes that listen."""
        return {process.pid for process in family(self.pid) if self._sockets(process.pid, psutil.CONN_LISTEN)}

    def connections(self) -> set[tuple[int, int]]:
        """The process and the client's port of each."""
        return {(pid, each.raddr.port) for pid in self.workers for each in self._sockets(pid, psutil.CONN_ESTABLISHED)}

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics") as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def clients_of_all(self, stack: ExitStack) -> list[Client]:
        """So many connections that each worker has one: which one a connection gets is the kernel's choice."""
        former = self.connections()
        clients: list[Client] = []
        while len({pid for pid, _ in self.connections() - former}) < WORKERS:
            clients.append(stack.enter_context(Client(self.address)))
            clients[-1].segment(RED)
        return clients

    def settle(self) -> None:
        eventually(lambda: len(self.workers) == WORKERS)

    def _sockets(self, pid: int, status: str) -> list[Any]:
        port = int(self.address.rpartition(":")[2])
        try:
            found = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:  # it has just ended
            return []
        return [each for each in found if each.laddr.port == port and each.status == status]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    for version in (1, 2):
        write_tiny_model(root / "tiny" / str(version), version=version)
    write_tiny_model(root / "tiny" / "9", version=9, scores_off=0.5)
    return root


@pytest.fixture(scope="module")
def crew(repository: Path) -> Iterator[Crew]:
    port = free_port()
    options = [*CREW, "--metrics-port", str(port), "--pin", "tiny=1", "--watch-s", "0.2"]
    with server_process(repository, options) as server:
        yield Crew(server.address, server.pid, port)


def test_all_workers_answer_and_what_they_count_is_added_up(crew: Crew) -> None:
    answered = 'streetmask_frames_total{outcome="answered"}'
    before = crew.metric(answered)
    with ExitStack() as stack:
        clients = crew.clients_of_all(stack)
        assert len(crew.workers) == WORKERS
        assert crew.metric(answered) - before == len(clients)
    assert crew.metric("streetmask_workers ") == WORKERS
    resident = sum(process.memory_info().rss for process in family(crew.pid))
    assert 0.5 * resident < crew.metric("process_resident_memory_bytes ") <= 1.1 * resident


def test_a_deployment_through_one_worker_is_answered_when_all_have_it(crew: Crew) -> None:
    with ExitStack() as stack, AdminClient(crew.address) as admin:
        clients = crew.clients_of_all(stack)
        for version in (2, 1):
            assert admin.deploy(Deployment("tiny", version)).version == version
            assert {client.segment(RED).model_version for client in clients} == {version}
        assert [each.version for each in admin.models()] == [1]


def test_a_deployment_that_fails_changes_nothing_anywhere(crew: Crew) -> None:
    with ExitStack() as stack, AdminClient(crew.address) as admin:
        clients = crew.clients_of_all(stack)
        with pytest.raises(ServerError, match="golden frame"):
            admin.deploy(Deployment("tiny", 9))
        assert {client.segment(RED).model_version for client in clients} == {1}
        assert [each.version for each in admin.models()] == [1]


class Caller:
    """A stream that sends until it is told to end, or is cut off."""

    def __init__(self, client: Client) -> None:
        self.answers = 0
        self.error = ""
        self._ended = threading.Event()
        self._client = client
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _frames(self) -> Iterator[RgbImage]:
        while not self._ended.is_set():
            yield RED

    def _run(self) -> None:
        every = StreamOptions(DropPolicy.EVERY)
        try:
            for received in self._client.stream(self._frames(), None, 2, every, reconnect=False):
                self.answers += isinstance(received.reply.outcome, Answer)
        except ServerError as error:
            self.error = str(error)


def test_a_killed_worker_is_replaced_and_the_others_clients_notice_nothing(crew: Crew) -> None:
    counted = crew.metric("streetmask_frames_total")
    lost = crew.metric("streetmask_workers_lost_total")
    with AdminClient(crew.address) as admin:
        admin.deploy(Deployment("tiny", 2))
    with ExitStack() as stack:
        callers = [Caller(client) for client in crew.clients_of_all(stack)]
        eventually(lambda: all(caller.answers for caller in callers))
        assert crew.metric("streetmask_streams ") == len(callers)
        killed, kept = sorted(crew.workers)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: any(caller.error for caller in callers))
        before = [caller.answers for caller in callers]
        eventually(lambda: all(each.error or each.answers > had for each, had in zip(callers, before, strict=True)))
        cut = [caller for caller in callers if caller.error]
        spared = [(caller, caller.answers) for caller in callers if not caller.error]
        assert cut and spared
        assert all("cannot be reached" in caller.error for caller in cut)  # UNAVAILABLE: try again
        with Client(crew.address) as again:
            assert len(again.segment(RED).instances) == 1
        crew.settle()
        assert kept in crew.workers and killed not in crew.workers
        eventually(lambda: all(caller.answers > had for caller, had in spared))
        for caller in callers:
            caller.end()
        assert not any(caller.error for caller, _ in spared)
        assert {client.segment(RED).model_version for client in crew.clients_of_all(stack)} == {
            2
        }  # not what it began with
        answers = sum(caller.answers for caller in callers)
    eventually(lambda: crew.metric("streetmask_streams ") == 0)
    assert crew.metric("streetmask_workers_lost_total") == lost + 1
    assert crew.metric("streetmask_frames_total") - counted >= answers  # what the killed one counted stays counted
    with ExitStack() as stack:  # what is desired now, and not what the killed one began with:
        assert {client.segment(RED).model_version for client in crew.clients_of_all(stack)} == {2}


def test_a_worker_that_is_terminated_drains_and_is_replaced(crew: Crew) -> None:
    with ExitStack() as stack:
        callers = [Caller(client) for client in crew.clients_of_all(stack)]
        eventually(lambda: all(caller.answers for caller in callers))
        told = min(crew.workers)
        os.kill(told, signal.SIGTERM)
        eventually(lambda: told not in crew.workers)
        crew.settle()
        for caller in callers:
            caller.end()
    errors = [caller.error for caller in callers if caller.error]
    assert all("stopping" in error for error in errors)


def test_a_version_that_appears_is_deployed_to_all(crew: Crew, repository: Path) -> None:
    write_tiny_model(repository / "tiny" / "10", version=10)
    with AdminClient(crew.address) as admin:
        eventually(lambda: [each.version for each in admin.models()] == [10])
    with ExitStack() as stack:
        clients = crew.clients_of_all(stack)
        eventually(lambda: {client.segment(RED).model_version for client in clients} == {10})


def test_a_second_server_does_not_share_the_port(crew: Crew, repository: Path) -> None:
    port = crew.address.rpartition(":")[2]
    for options in (CREW, []):
        done = captured(serve_command(str(repository / "tiny" / "1"), "--port", port, *options))
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_loaded_stops_the_server_with_its_sentence(repository: Path) -> None:
    done = captured(serve_command(str(repository / "tiny" / "9"), "--port", "0", *CREW))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "golden frame" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_supervisor_that_is_told_to_stop_drains_its_workers(repository: Path) -> None:
    with (
        server_process(repository / "tiny" / "1", CREW) as server,
        Client(server.address) as client,
    ):
        processes = family(server.pid)
        received: list[Received] = []
        told = threading.Event()

        def frames() -> Iterator[RgbImage]:
            yield RED
            assert told.wait(PATIENCE_S)  # answered already, the stream is idle until it is ended

        with pytest.raises(ServerError, match="stopping"):
            for each in client.stream(frames(), reconnect=False):
                received.append(each)
                os.kill(server.pid, signal.SIGTERM)
        told.set()
        assert all(isinstance(each.reply.outcome, Answer) for each in received)
        assert psutil.wait_procs(processes, PATIENCE_S)[1] == []


def test_no_worker_outlives_its_supervisor(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with server_process(repository / "tiny" / "1", CREW) as server:
        supervisor, *others = family(server.pid)
        assert len(others) > 1
        assert list(tmp_path.glob("streetmask-*"))
        supervisor.kill()
        assert psutil.wait_procs(others, PATIENCE_S)[1] == []
    assert not list(tmp_path.glob("streetmask-*"))  # nor their counts


def test_a_supervisor_that_is_told_to_stop_at_once_ends_quietly(repository: Path) -> None:
    command = serve_command(str(repository / "tiny" / "1"), "--port", "0", *CREW)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "worker 0 is process" in process.stderr.readline()  # which imports and loads for a second yet
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert output == ""
    assert "Traceback" not in errors


def test_ctrl_c_reaches_the_whole_group_and_stops_it_in_order(repository: Path) -> None:
    with subprocess.Popen(
        serve_command(str(repository / "tiny" / "1"), "--port", "0", *CREW),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Traceback" not in errors
