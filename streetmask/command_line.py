"""A command line of subcommands: finds the one asked for, loads only what it needs, turns errors into sentences."""

import importlib
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tyro

from scene.errors import ConfigurationError, StreetMaskError

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""

USAGE = 2

_LINE_EVERY = 100
"""Things between two lines of progress where there is no terminal."""


@dataclass(frozen=True)
class Command:
    """A subcommand: one function of one frozen dataclass of arguments, imported when it is asked for.

    Where that dataclass has a class method ``defaults``, it is given the words after the command's name and returns the
    arguments from which the flags go on: what a file and the environment say, ``tyro.MISSING`` for what must be given.
    ``entry`` is ``module:function``; ``extra`` names the optional dependencies that it needs. A function that returns a
    number ends the program with it.
    """

    summary: str
    entry: str
    extra: str


@dataclass(frozen=True)
class CommandLine:
    """A program of that name with its subcommands; ``about`` is the one sentence that its help begins with."""

    program: str
    about: str
    commands: Mapping[tuple[str, ...], Command]

    def run(self, arguments: Sequence[str] | None = None) -> int:
        """Run a command line; return the exit status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        name = next((name for name in self.commands if tuple(words[: len(name)]) == name), None)
        if name is None:
            asked = not words or words[0] in ("-h", "--help")
            complaint = "" if asked else f"{self.program}: no command {' '.join(words[:2])!r}\n\n"
            print(complaint + self._usage(), file=sys.stdout if asked else sys.stderr)
            return 0 if asked and words else USAGE
        return self._run(name, words[len(name) :])

    def _run(self, name: tuple[str, ...], words: list[str]) -> int:
        command = self.commands[name]
        try:
            function = _load(command.entry)
            status = function(_parsed(_arguments_type(function), f"{self.program} {' '.join(name)}", words))
        except StreetMaskError as error:
            return self._complain(str(error))
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            return self._complain(f"{error.filename}: {reason}" if error.filename else reason)
        except ModuleNotFoundError as error:
            return self._complain(
                f"`{' '.join(name)}` needs the package {error.name}: pip install 'streetmask[{command.extra}]'"
            )
        except KeyboardInterrupt:
            return INTERRUPTED
        return status or 0

    def _usage(self) -> str:
        width = max(len(" ".join(name)) for name in self.commands)
        lines = [f"  {' '.join(name):<{width}}  {command.summary}" for name, command in self.commands.items()]
        return "\n".join(
            [
                f"usage: {self.program} COMMAND [ARGUMENTS]",
                "",
                self.about,
                "",
                *lines,
                "",
                f"`{self.program} COMMAND --help` explains a command's arguments.",
            ]
        )

    def _complain(self, sentence: str) -> int:
        print(f"{self.program}: {sentence}", file=sys.stderr)
        return 1


def show_count(things: str, done: int, total: int) -> None:
    """Tell how many of the things are done, on stderr: in place on a terminal, else in a line every hundred."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} {things}", end="\n" if done == total else "", flush=True, file=sys.stderr)
    elif done % _LINE_EVERY == 0 or done == total:
        print(f"{done} of {total} {things}", flush=True, file=sys.stderr)


def _parsed(kind: type, program: str, words: list[str]) -> object:
    """The arguments; raises ``ConfigurationError``, whose field is the flag, for a value that the dataclass refuses."""
    start = {"default": kind.defaults(words)} if hasattr(kind, "defaults") else {}
    try:
        return tyro.cli(kind, prog=program, args=words, **start)
    except ConfigurationError as error:
        flag = f"--{error.field.replace('_', '-')}"
        if flag not in {word.split("=")[0].replace("_", "-") for word in words}:
            raise
        raise ConfigurationError(flag, str(error).removeprefix(f"{error.field}: ")) from error


def _load(entry: str) -> Callable[..., int | None]:
    module, function = entry.split(":")
    loaded: Callable[..., int | None] = getattr(importlib.import_module(module), function)
    return loaded


def _arguments_type(function: Callable[..., int | None]) -> type:
    """The dataclass that is the function's one parameter."""
    hints = typing.get_type_hints(function, include_extras=True)
    (kind,) = (kind for name, kind in hints.items() if name != "return")
    return typing.cast(type, kind)
