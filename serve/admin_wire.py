"""Between deployments and the messages of the admin service."""

from protos.streetmask.v1 import admin_pb2 as pb
from serve.deployment import Deployment, ModelStatus
from serve.repository import check_name


def deploy_request(wanted: Deployment) -> pb.DeployRequest:
    """What is to be deployed."""
    return pb.DeployRequest(
        model_name=wanted.name, model_version=wanted.version, keep_others=wanted.keep_others, force=wanted.force
    )


def read_deploy_request(request: pb.DeployRequest) -> Deployment:
    """What is to be deployed; raises ``ConfigurationError`` for what can be no model's name."""
    check_name(request.model_name)
    return Deployment(request.model_name, request.model_version, request.keep_others, request.force)


def deploy_response(status: ModelStatus) -> pb.DeployResponse:
    """What answers now."""
    return pb.DeployResponse(model=_message(status))


def read_deploy_response(response: pb.DeployResponse) -> ModelStatus:
    """What answers now."""
    return _status(response.model)


def models_response(models: list[ModelStatus]) -> pb.ListModelsResponse:
    """What is loaded."""
    return pb.ListModelsResponse(models=map(_message, models))


def read_models_response(response: pb.ListModelsResponse) -> list[ModelStatus]:
    """What is loaded."""
    return list(map(_status, response.models))


def _message(status: ModelStatus) -> pb.LoadedModel:
    return pb.LoadedModel(
        name=status.name,
        version=status.version,
        current=status.current,
        runs_on=status.runs_on,
        golden_ms=status.golden_ms,
    )


def _status(message: pb.LoadedModel) -> ModelStatus:
    return ModelStatus(message.name, message.version, message.current, message.runs_on, message.golden_ms)
