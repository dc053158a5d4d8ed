"""``streetmask serve``: a model behind a port until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Self

import tyro

from serve.logs import configure_logs
from serve.server import serve as serve_alone
from serve.settings import ServerSettings
from serve.settings_sources import SourcedSettings, given_flags, read_settings
from serve.supervisor import supervise


@dataclass(frozen=True)
class ServeArguments:
    """Serve models over gRPC; prints `listening on HOST:PORT` once it answers.

    Settings come from these flags, else from variables such as STREETMASK_PORT, else from a TOML file.
    """

    model: tyro.conf.Positional[Path]
    """A version's folder such as models/street-nano/1; models/street-nano for the newest; models for every model."""
    config: Path | None = None
    """TOML file of settings; without it the one that STREETMASK_CONFIG names, if any."""
    print_config: bool = False
    """Print the settings as TOML with each one's source, and serve nothing."""
    settings: Annotated[ServerSettings, tyro.conf.arg(name="")] = field(default_factory=ServerSettings)
    found: tyro.conf.Suppress[SourcedSettings | None] = None

    @classmethod
    def defaults(cls, words: Sequence[str]) -> Self:
        """What file and environment say, for the flags to go on from."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("--config", type=Path, nargs="?")
        config: Path | None = parser.parse_known_args(words)[0].config
        found = read_settings(config, os.environ)
        sourced = found.with_flags(found.settings, given_flags(words))
        asked = {"-h", "--help"}.intersection(words)  # the page shows every default
        return cls(tyro.MISSING, settings=found.without_secrets() if asked else found.settings, found=sourced)


def serve(arguments: ServeArguments) -> None:
    """Serve until told to stop."""
    settings = arguments.settings
    if arguments.print_config:
        found = arguments.found or read_settings(arguments.config, os.environ)
        print(found.with_flags(settings, {}).to_toml(), end="")
        return
    configure_logs(settings.log_format, settings.log_level)
    run = serve_alone if settings.workers == 1 else supervise
    asyncio.run(run(arguments.model, settings, partial(print, flush=True)))
