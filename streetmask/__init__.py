"""StreetMask: real-time instance segmentation of street scenes with YOLACT++.

The names a Python user needs; each is imported when it is first asked for, so that the client's installation works
without an engine and the server's without a video library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scene.errors import StreetMaskError
    from serve.answer import Answer, FoundInstance, Options
    from serve.async_client import AsyncClient
    from serve.client import Client
    from serve.connection import Captured
    from serve.exchange import DropPolicy, StreamOptions
    from serve.model import Model
    from serve.outbox import Received
    from streetmask.loading import load

__all__ = [
    "Answer",
    "AsyncClient",
    "Captured",
    "Client",
    "DropPolicy",
    "FoundInstance",
    "Model",
    "Options",
    "Received",
    "StreamOptions",
    "StreetMaskError",
    "load",
]

_HOMES = {
    "Answer": "serve.answer",
    "AsyncClient": "serve.async_client",
    "Captured": "serve.connection",
    "Client": "serve.client",
    "DropPolicy": "serve.exchange",
    "FoundInstance": "serve.answer",
    "Model": "serve.model",
    "Options": "serve.answer",
    "Received": "serve.outbox",
    "StreamOptions": "serve.exchange",
    "StreetMaskError": "scene.errors",
    "load": "streetmask.loading",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
