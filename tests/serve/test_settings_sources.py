"""Where settings come from: every one by each way, and what is said of a wrong one."""

import types
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tyro

from scene.errors import ConfigurationError
from serve.settings import ServerSettings
from serve.settings_sources import DEFAULT, SourcedSettings, given_flags, is_secret, read_settings
from streetmask.commands.serve import ServeArguments

KINDS = typing.get_type_hints(ServerSettings)
NAMES = [field.name for field in fields(ServerSettings)]


def another(name: str) -> Any:
    """A value that is not the default, and allowed."""
    kind, default = KINDS[name], getattr(ServerSettings(), name)
    plain = next((each for each in typing.get_args(kind) if each is not types.NoneType), kind)
    choices = typing.get_args(kind if typing.get_origin(kind) is typing.Literal else plain)
    if typing.get_origin(kind) is tuple:
        return ("one", "two")
    if choices:
        return next(choice for choice in choices if choice != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return type(default)(default + 1)
    return Path("some/where") if plain is Path else "elsewhere"


def as_toml(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f'"{value}"'


def as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def as_words(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"]
    return [flag, *(value if isinstance(value, tuple) else [str(value)])]


def variable(name: str) -> str:
    return f"STREETMASK_{name.upper()}"


def parsed(words: list[str]) -> ServeArguments:
    line = ["model", *words]
    return tyro.cli(ServeArguments, args=line, default=ServeArguments.defaults(line))


def test_without_anything_the_defaults_stand() -> None:
    found = read_settings(None, {})
    assert found.settings == ServerSettings()
    assert found.sources == dict.fromkeys(NAMES, DEFAULT)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_comes_by_file_by_environment_and_by_flag(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, default = another(name), getattr(ServerSettings(), name)
    file, other = tmp_path / "server.toml", tmp_path / "other.toml"
    file.write_text(f"{name} = {as_toml(value)}\n")
    other.write_text("# empty\n")

    of_file = read_settings(file, {})
    assert (getattr(of_file.settings, name), of_file.sources[name]) == (value, f"{file}: {name}")
    assert read_settings(None, {"STREETMASK_CONFIG": str(file)}) == of_file
    assert read_settings(other, {"STREETMASK_CONFIG": str(file)}).settings == ServerSettings()

    of_variable = read_settings(None, {variable(name): as_text(value), "HOME": "/"})
    assert (getattr(of_variable.settings, name), of_variable.sources[name]) == (value, variable(name))

    words = as_words(name, value)
    arguments = parsed(words)
    assert arguments.found is not None
    assert (getattr(arguments.settings, name), arguments.found.sources[name]) == (value, words[0])

    # Each goes before the one under it, even if it says the default.
    if default not in (None, "", ()):
        file.write_text(f"{name} = {as_toml(default)}\n")
        monkeypatch.setenv(variable(name), as_text(value))
        assert getattr(parsed(["--config", str(file)]).settings, name) == value
        assert getattr(parsed([f"--config={file}", *as_words(name, default)]).settings, name) == default


@pytest.mark.parametrize("name", [name for name in NAMES if KINDS[name] is not str])
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(f"{name} = {{ a = 1 }}\n")
    with pytest.raises(ConfigurationError, match=r"expected .*, but .* came") as of_file:
        read_settings(file, {})
    assert of_file.value.field == f"{file}: {name}"
    if typing.get_origin(KINDS[name]) is tuple or Path in typing.get_args(KINDS[name]):
        return  # any text is one
    with pytest.raises(ConfigurationError, match=r"expected .*, but 'nonsense' came") as of_variable:
        read_settings(None, {variable(name): "nonsense"})
    assert of_variable.value.field == variable(name)


def test_a_value_out_of_range_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("port = 70000\n")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(file, {})
    assert str(caught.value) == f"{file}: port: expected 0 to 65535, but 70000 came"
    with pytest.raises(ConfigurationError) as caught:
        read_settings(file, {"STREETMASK_PORT": "-1"})
    assert str(caught.value) == "STREETMASK_PORT: expected 0 to 65535, but -1 came"


def test_names_that_no_setting_has_are_refused_with_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("max-stream = 3\n")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(file, {})
    assert str(caught.value) == (f"{file}: max-stream: expected a setting such as max_streams, but none has this name")
    for wrong, known in (("STREETMASK_PROT", "STREETMASK_PORT"), ("STREETMASK_drain_s", "STREETMASK_DRAIN_S")):
        with pytest.raises(ConfigurationError, match=f"^{wrong}: expected a variable such as {known}, but"):
            read_settings(None, {wrong: "3"})


def test_an_empty_variable_counts_as_none() -> None:
    assert read_settings(None, {"STREETMASK_PORT": "", "STREETMASK_CONFIG": ""}) == read_settings(None, {})


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "none.toml", {})
    for content in (b"port 3", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"bad\.toml: expected TOML, but "):
            read_settings(tmp_path / "bad.toml", {})


def test_a_number_is_no_text_in_a_file_and_a_text_is_a_number_in_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = "50051"\n')
    with pytest.raises(ConfigurationError, match="port: expected a whole number, but '50051' came"):
        read_settings(file, {})
    assert read_settings(None, {"STREETMASK_DRAIN_S": "2"}).settings.drain_s == 2.0


def test_what_is_printed_gives_the_same_settings_again(tmp_path: Path) -> None:
    values = {name: another(name) for name in NAMES if not is_secret(name)}
    settings = ServerSettings(**values)
    sourced = SourcedSettings(settings, dict.fromkeys(NAMES, "--some-flag"))
    file = tmp_path / "server.toml"
    file.write_text(sourced.to_toml())
    assert read_settings(file, {}).settings == settings
    file.write_text(read_settings(None, {}).to_toml())
    assert read_settings(file, {}).settings == ServerSettings()
    assert "port = 50051  # default\n" in file.read_text()


def test_given_flags_are_found_however_they_are_written() -> None:
    assert given_flags(["model", "--port=3", "--max_streams", "4", "--unknown"]) == {
        "port": "--port",
        "max_streams": "--max-streams",
    }


def test_secrets_are_known_by_their_names() -> None:
    assert is_secret("admin_token")
    assert not any(is_secret(name) for name in ("port", "max_streams", "engine"))
    assert read_settings(None, {}).without_secrets() == ServerSettings()
