"""Every command in the documents' shell blocks is one that the command line takes; none of them is run."""

import functools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench.cli
import streetmask.cli
from streetmask import command_line

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS: dict[str, Callable[[list[str]], int]] = {"streetmask": streetmask.cli.main, "bench": bench.cli.main}
SHELL = ("2>", ">", "|", "&", "&&", ";")


def commands(text: str) -> Iterator[list[str]]:
    """The lines of all blocks that call one of our programs, without what the shell does with them."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            starts = [place for place, word in enumerate(words) if Path(word).name in PROGRAMS]
            if starts:
                rest = words[starts[0] :]
                end = next((place for place, word in enumerate(rest) if word in SHELL), len(rest))
                yield [Path(rest[0]).name, *rest[1:end]]


def documented() -> list[tuple[str, list[str]]]:
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [(path.name, words) for path in paths for words in commands(path.read_text())]


def test_a_text_without_blocks_has_no_commands() -> None:
    assert list(commands("run `streetmask serve`\n")) == []


def test_comments_the_shell_and_line_breaks_are_left_aside() -> None:
    text = "```sh\n.venv/bin/streetmask serve a \\\n    --port 0 2> b  # why\nls\nx=1 bench engine & \n```\n"
    assert list(commands(text)) == [["streetmask", "serve", "a", "--port", "0"], ["bench", "engine"]]


def test_a_flag_that_does_not_exist_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        parse(["streetmask", "serve", "models", "--prot", "0"], monkeypatch)


@pytest.mark.parametrize(("document", "words"), documented(), ids=lambda each: str(each)[:60])
def test_the_command_line_takes_it(
    document: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert parse(words, monkeypatch), f"{document}: {shlex.join(words)}"


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the words come through to the command's function, which does nothing."""
    load = command_line._load
    called: list[object] = []

    def loaded(entry: str) -> Callable[..., int | None]:
        @functools.wraps(load(entry))
        def function(arguments: object) -> None:
            called.append(arguments)

        return function

    monkeypatch.setattr(command_line, "_load", loaded)
    return PROGRAMS[words[0]](words[1:]) == 0 and len(called) == 1
