"""The admin service, over the wire, against a real server."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos.streetmask.v1 import admin_pb2 as pb
from protos.streetmask.v1.admin_pb2_grpc import AdminServiceStub
from scene.errors import ServerError
from serve.admin import is_local
from serve.admin_client import TOKEN_VARIABLE, AdminClient, deployed
from serve.answer import Answer, Options
from serve.client import Client
from serve.deployment import Deployment
from serve.exchange import DropPolicy, StreamOptions
from serve.logs import Seldom
from serve.server import ADMIN_SERVICE
from serve.status import ErrorsAsStatus
from tests.serve.conftest import RunningServer
from tests.serve.repository_server import RepositoryServer, serving, settings, write_repository
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models", 1, 2)


@pytest.fixture
def admin_server(root: Path) -> Iterator[RepositoryServer]:
    with serving(root / "tiny" / "1", settings()) as server:
        yield server


@pytest.fixture
def admin(admin_server: RepositoryServer) -> Iterator[AdminClient]:
    with AdminClient(admin_server.address) as client:
        yield client


def test_what_the_server_began_with_is_told(admin: AdminClient) -> None:
    (status,) = admin.models()
    assert (status.name, status.version, status.current) == ("tiny", 1, True)
    assert status.runs_on == "onnxruntime in float32"
    assert status.golden_ms > 0


def test_a_deployment_is_told_and_answers(admin: AdminClient, admin_server: RepositoryServer) -> None:
    status = admin.deploy(Deployment("tiny"))
    assert (status.version, status.current) == (2, True)
    assert admin.models() == [status]
    assert deployed("here:1", status) == "tiny version 2 answers at here:1, on onnxruntime in float32"
    with Client(admin_server.address) as client:
        assert client.segment(RED).model_version == 2


def test_versions_are_kept_and_unloaded(admin: AdminClient, admin_server: RepositoryServer) -> None:
    admin.deploy(Deployment("tiny", 2, keep_others=True))
    assert [(each.version, each.current) for each in admin.models()] == [(1, False), (2, True)]
    with Client(admin_server.address) as client:
        assert client.segment(RED, Options(model_version=1)).model_version == 1
        admin.unload("tiny", 1)
        with pytest.raises(ServerError, match=r"NOT_FOUND.*model_version: expected 2 or 0 for tiny, but 1 came"):
            client.segment(RED, Options(model_version=1))
    assert [each.version for each in admin.models()] == [2]


def test_a_stream_follows_the_current_version_without_a_gap(admin: AdminClient, admin_server: RepositoryServer) -> None:
    def frames() -> Iterator[object]:
        for number in range(30):
            if number == 10:
                admin.deploy(Deployment("tiny", 2))
            if number == 20:
                admin.deploy(Deployment("tiny", 1))
            yield RED

    with Client(admin_server.address) as client:
        every = StreamOptions(policy=DropPolicy.EVERY)
        replies = [each.reply for each in client.stream(frames(), in_flight=3, stream=every)]  # type: ignore[arg-type]
    assert [reply.frame_id for reply in replies] == list(range(30))
    versions = [reply.outcome.model_version for reply in replies if isinstance(reply.outcome, Answer)]
    assert len(versions) == 30
    assert versions[:8] == [1] * 8, "answered before the deployment: two at most were in flight beside frame 10"
    assert versions[10:18] == [2] * 8, "sent after it"
    assert versions[20:] == [1] * 10


def test_a_stream_that_asks_for_a_version_ends_with_not_found_when_that_is_unloaded(
    admin: AdminClient, admin_server: RepositoryServer
) -> None:
    answered: list[int] = []

    def frames() -> Iterator[object]:
        for number in range(10):
            if number == 5:
                admin.deploy(Deployment("tiny", 2))
            yield RED

    with Client(admin_server.address) as client:
        every = StreamOptions(policy=DropPolicy.EVERY)
        pinned = Options(model_version=1)
        replies = client.stream(frames(), pinned, in_flight=1, stream=every)  # type: ignore[arg-type]
        with pytest.raises(ServerError, match=r"NOT_FOUND.*model_version: expected 2 or 0 for tiny, but 1 came"):
            answered.extend(each.reply.frame_id for each in replies)
    assert answered == list(range(5))


@pytest.mark.parametrize(
    ("request_", "code", "sentence"),
    [
        (pb.DeployRequest(), "INVALID_ARGUMENT", "model_name: expected a folder's plain name"),
        (pb.DeployRequest(model_name="../tiny"), "INVALID_ARGUMENT", "but '../tiny' came"),
        (pb.DeployRequest(model_name="tiny", model_version=-1), "INVALID_ARGUMENT", "model_version: expected 1 to"),
        (pb.DeployRequest(model_name="tiny", model_version=9), "NOT_FOUND", r"repository (1, 2), but 9 came"),
        (pb.DeployRequest(model_name="huge"), "NOT_FOUND", "expected a model of the repository (tiny)"),
        (pb.DeployRequest(model_name="tiny", model_version=2), "FAILED_PRECONDITION", "is damaged: its SHA-256"),
    ],
)
def test_what_cannot_be_deployed_is_a_status_with_a_sentence_and_nothing_has_changed(
    admin_server: RepositoryServer, root: Path, request_: pb.DeployRequest, code: str, sentence: str
) -> None:
    with (root / "tiny" / "2" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with grpc.insecure_channel(admin_server.address) as channel:
        stub = AdminServiceStub(channel)
        before = stub.ListModels(pb.ListModelsRequest())
        with pytest.raises(grpc.RpcError) as caught:
            stub.Deploy(request_)
        assert caught.value.code().name == code
        assert sentence in str(caught.value.details())
        assert stub.ListModels(pb.ListModelsRequest()) == before


@pytest.mark.parametrize(
    ("request_", "code", "sentence"),
    [
        (pb.UnloadRequest(), "INVALID_ARGUMENT", "model_name: expected a folder's plain name"),
        (pb.UnloadRequest(model_name="tiny", model_version=2), "NOT_FOUND", "expected what is loaded (tiny version 1)"),
        (pb.UnloadRequest(model_name="tiny"), "INVALID_ARGUMENT", "the last model of this server"),
    ],
)
def test_what_cannot_be_unloaded_is_a_status_with_a_sentence(
    admin_server: RepositoryServer, request_: pb.UnloadRequest, code: str, sentence: str
) -> None:
    with grpc.insecure_channel(admin_server.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            AdminServiceStub(channel).Unload(request_)
        assert caught.value.code().name == code
        assert sentence in str(caught.value.details())


def test_a_token_is_asked_for_on_every_call(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    refused = "refuses: expected the server's admin token in the metadata `authorization: Bearer TOKEN`"
    with serving(root, settings(admin_token="secret")) as server:
        for token in ("", "wrong", "secret2", "secre"):
            with AdminClient(server.address, token) as admin:
                for call in (admin.models, lambda: admin.unload("tiny"), lambda: admin.deploy(Deployment("tiny", 1))):
                    with pytest.raises(ServerError, match=refused):
                        call()
        with AdminClient(server.address, "secret") as admin:
            assert [each.version for each in admin.models()] == [2]
            admin.deploy(Deployment("tiny", 1))
        monkeypatch.setenv(TOKEN_VARIABLE, "secret")
        with AdminClient(server.address) as admin:
            assert [each.version for each in admin.models()] == [1]
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
            AdminServiceStub(channel).ListModels(pb.ListModelsRequest(), metadata=(("authorization", "Basic secret"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_callers_from_elsewhere_need_a_token(
    admin_server: RepositoryServer,
    admin: AdminClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("serve.admin.is_local", lambda peer: not peer.startswith("ipv4:127.0.0.1:"))
    monkeypatch.setattr(ErrorsAsStatus, "_refusals", Seldom())
    with grpc.insecure_channel(admin_server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        AdminServiceStub(channel).ListModels(pb.ListModelsRequest())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "start the server with an admin token to deploy from elsewhere" in str(caught.value.details())
    (record,) = (record for record in caplog.records if record.message.startswith("a caller is refused: expected"))
    assert vars(record)["peer"].startswith("ipv4:127.0.0.1:")


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("", False),
        ("ipv4:127.0.0.1:5000", True),
        ("ipv4:127.255.0.9:5000", True),
        ("ipv6:[::1]:5000", True),
        ("ipv6:%5B::1%5D:5000", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:5000", True),
        ("unix:/run/streetmask", True),
        ("ipv4:10.0.0.7:5000", False),
        ("ipv4:128.0.0.1:5000", False),
        ("ipv6:[2001:db8::1]:5000", False),
        ("ipv6:%5B::ffff:10.0.0.7%5D:5000", False),
        ("dns:localhost:5000", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(peer: str, local: bool) -> None:
    assert is_local(peer) is local


def test_the_real_peer_of_a_call_from_this_machine_is_local(admin: AdminClient) -> None:
    assert len(admin.models()) == 1


def test_a_server_that_cannot_be_reached_or_takes_no_deployments_is_told(server: RunningServer) -> None:
    with AdminClient("127.0.0.1:1") as nobody, pytest.raises(ServerError, match=r"127\.0\.0\.1:1 cannot be reached"):
        nobody.models()
    with AdminClient(server.address) as other, pytest.raises(ServerError, match="takes no deployments; it is of"):
        other.models()


def test_reflection_names_the_admin_service(admin_server: RepositoryServer) -> None:
    with grpc.insecure_channel(admin_server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert ADMIN_SERVICE in {service.name for service in answer.list_services_response.service}
