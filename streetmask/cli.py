"""The command ``streetmask``: finds the subcommand, loads only what it needs, and turns errors into sentences."""

import importlib
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tyro

from scene.errors import StreetMaskError

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""

USAGE = 2


@dataclass(frozen=True)
class Command:
    """A subcommand: one function of one frozen dataclass of arguments, imported when it is asked for.

    ``entry`` is ``module:function``; ``extra`` names the optional dependencies that it needs.
    """

    summary: str
    entry: str
    extra: str


COMMANDS: dict[tuple[str, ...], Command] = {
    ("demo",): Command(
        "Show it all: server, stream, annotated video.", "streetmask.commands.demo:demo", "serve,client"
    ),
    ("segment",): Command(
        "Find the objects of pictures or videos, without a server.",
        "streetmask.commands.segment:segment",
        "serve,client",
    ),
    ("serve",): Command("Serve a model over gRPC.", "streetmask.commands.serve:serve", "serve"),
    ("stream",): Command("Stream a video through a server.", "streetmask.commands.stream:stream", "client"),
    ("data", "synth"): Command("Make synthetic street scenes with labels.", "streetmask.commands.synth:synth", "serve"),
    ("train",): Command("Train or fine-tune a network.", "training.command:train", "train"),
    ("evaluate",): Command("Measure a checkpoint or model on labelled pictures.", "export.command:evaluate", "export"),
    ("export",): Command("Turn a checkpoint into a model folder.", "export.command:export", "export"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = _command_name(words)
    if name is None:
        asked = not words or words[0] in ("-h", "--help")
        print(
            _usage() if asked else f"streetmask: no command {' '.join(words[:2])!r}\n\n{_usage()}",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked and words else USAGE
    return _run(name, words[len(name) :])


def _run(name: tuple[str, ...], words: list[str]) -> int:
    command = COMMANDS[name]
    try:
        function = _load(command.entry)
        function(tyro.cli(_arguments_type(function), prog=f"streetmask {' '.join(name)}", args=words))
    except StreetMaskError as error:
        return _complain(str(error))
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        return _complain(f"{error.filename}: {reason}" if error.filename else reason)
    except ModuleNotFoundError as error:
        return _complain(
            f"`{' '.join(name)}` needs the package {error.name}: pip install 'streetmask[{command.extra}]'"
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _command_name(words: list[str]) -> tuple[str, ...] | None:
    return next((name for name in COMMANDS if tuple(words[: len(name)]) == name), None)


def _load(entry: str) -> Callable[..., None]:
    module, function = entry.split(":")
    loaded: Callable[..., None] = getattr(importlib.import_module(module), function)
    return loaded


def _arguments_type(function: Callable[..., None]) -> type:
    """The dataclass that is the function's one parameter."""
    hints = typing.get_type_hints(function, include_extras=True)
    (kind,) = (kind for name, kind in hints.items() if name != "return")
    return typing.cast(type, kind)


def _usage() -> str:
    width = max(len(" ".join(name)) for name in COMMANDS)
    lines = [f"  {' '.join(name):<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: streetmask COMMAND [ARGUMENTS]",
            "",
            "Instance segmentation of street scenes, in real time.",
            "",
            *lines,
            "",
            "`streetmask COMMAND --help` explains a command's arguments.",
        ]
    )


def _complain(sentence: str) -> int:
    print(f"streetmask: {sentence}", file=sys.stderr)
    return 1
