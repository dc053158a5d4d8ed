"""Where a server's settings come from: its defaults, a TOML file, the environment; flags come on top of them.

Each value is checked with the name of where it stands, since nobody looks for a wrong port in five places.
"""

import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from scene.errors import ConfigurationError
from serve.settings import ServerSettings

PREFIX = "STREETMASK_"

CONFIG_VARIABLE = "STREETMASK_CONFIG"
"""The file's path, where no flag names one."""

DEFAULT = "default"

_SECRET_ENDINGS = ("token", "password", "secret")
_WORDS: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_KINDS: dict[str, Any] = typing.get_type_hints(ServerSettings)


@dataclass(frozen=True)
class SourcedSettings:
    """Settings, and for each field where its value stands: "default", a file and key, a variable, or a flag."""

    settings: ServerSettings
    sources: Mapping[str, str]

    def with_flags(self, settings: ServerSettings, flags: Mapping[str, str]) -> "SourcedSettings":
        """The settings that a command line made of these; ``flags`` by the fields that it gave."""
        return SourcedSettings(settings, {**self.sources, **flags})

    def without_secrets(self) -> ServerSettings:
        """The settings for a page that shows them."""
        return replace(self.settings, **{name: ServerSettings.__dict__[name] for name in _KINDS if is_secret(name)})

    def to_toml(self) -> str:
        """A file that gives these settings, with each value's source; secrets are left out."""
        return "".join(_line(name, getattr(self.settings, name), self.sources[name]) for name in _KINDS)


def read_settings(config: Path | None, environment: Mapping[str, str]) -> SourcedSettings:
    """Settings from a file, or the one that ``STREETMASK_CONFIG`` names, and the environment, which goes before it.

    An empty variable counts as none. Raises ``ConfigurationError``, whose field is the file and key or the variable,
    for a value of the wrong kind or out of range and for names that no setting has; ``OSError`` for a file that cannot
    be read.
    """
    config = config or (Path(named) if (named := environment.get(CONFIG_VARIABLE)) else None)
    values: dict[str, Any] = {}
    sources = dict.fromkeys(_KINDS, DEFAULT)
    for name, source, value in [*_of_file(config), *_of_environment(environment)]:
        values[name], sources[name] = value, source
    try:
        return SourcedSettings(ServerSettings(**values), sources)
    except ConfigurationError as error:
        source = sources.get(error.field, DEFAULT)
        if source == DEFAULT:
            raise
        raise ConfigurationError(source, str(error).removeprefix(f"{error.field}: ")) from error


def is_secret(name: str) -> bool:
    """Whether a setting's value must not be shown."""
    return name.endswith(_SECRET_ENDINGS)


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


def given_flags(words: typing.Sequence[str]) -> dict[str, str]:
    """Which settings a command line gives, by name, with their flags."""
    given = {word.split("=")[0].replace("_", "-") for word in words}
    negated = {name: flag_of(f"no_{name}") for name in _KINDS}
    return {name: flag for name in _KINDS for flag in (flag_of(name), negated[name]) if flag in given}


def _of_file(path: Path | None) -> Iterator[tuple[str, str, Any]]:
    """Name, source and value of each key."""
    if path is None:
        return
    try:
        table = tomllib.loads(path.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"expected TOML, but {error}") from error
    for key, value in table.items():
        source = f"{path}: {key}"
        if key not in _KINDS:
            raise ConfigurationError(source, f"expected a setting such as {_nearest(key)}, but none has this name")
        yield key, source, _converted(key, source, value, strict=True)


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in _KINDS or variable != variable.upper():
            known = f"{PREFIX}{_nearest(name).upper()}"
            raise ConfigurationError(variable, f"expected a variable such as {known}, but no setting has this name")
        if text:
            value = text.split(",") if typing.get_origin(_KINDS[name]) is tuple else text
            yield name, variable, _converted(name, variable, value, strict=False)


def _nearest(name: str) -> str:
    return str(get_close_matches(name.lower().replace("-", "_"), _KINDS, 1, cutoff=0)[0])


def _converted(name: str, source: str, value: object, strict: bool) -> Any:
    kind = _KINDS[name]
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_path)
    except msgspec.ValidationError as error:
        came = "another" if is_secret(name) else repr(value)
        raise ConfigurationError(source, f"expected {_in_words(kind)}, but {came} came") from error


def _path(kind: type, value: object) -> object:
    """msgspec knows no paths."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"expected {kind.__name__}")


def _in_words(kind: Any) -> str:
    """What a value must be, for people."""
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return " or ".join(_in_words(each) for each in typing.get_args(kind) if each is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        return f"a list, each {_in_words(typing.get_args(kind)[0])}"
    return _WORDS.get(kind, "a text")


def _line(name: str, value: object, source: str) -> str:
    if is_secret(name) and value:
        return f'# {name} = "..."  # {source}; not shown\n'
    if value is None:
        return f"# {name} is not set\n"
    plain = msgspec.to_builtins(value, enc_hook=str)
    return f"{name} = {json.dumps(plain, ensure_ascii=False)}  # {source}\n"
