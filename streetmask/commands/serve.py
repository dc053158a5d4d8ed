"""``streetmask serve``: a model behind a port until SIGTERM or Ctrl-C."""

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from serve.server import serve as serve_alone
from serve.settings import ServerSettings
from serve.supervisor import supervise


@dataclass(frozen=True)
class ServeArguments:
    """Serve models over gRPC; prints `listening on HOST:PORT` once it answers."""

    model: tyro.conf.Positional[Path]
    """A version's folder such as models/street-nano/1; models/street-nano for the newest; models for every model."""
    settings: Annotated[ServerSettings, tyro.conf.arg(name="")] = field(default_factory=ServerSettings)


def serve(arguments: ServeArguments) -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run = serve_alone if arguments.settings.workers == 1 else supervise
    asyncio.run(run(arguments.model, arguments.settings, partial(print, flush=True)))
