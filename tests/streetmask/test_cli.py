"""The command line: what it prints, and with which status it ends."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from scene.errors import ConfigurationError, DataError
from streetmask.cli import COMMANDS, main
from streetmask.command_line import INTERRUPTED, USAGE, Command


@dataclass(frozen=True)
class Arguments:
    """Count."""

    max_count: int
    """How many."""

    def __post_init__(self) -> None:
        if self.max_count < 0:
            raise ConfigurationError("max_count", f"expected 0 or more, but {self.max_count} came")


def run(arguments: Arguments) -> None:
    """Do what the number says."""
    if arguments.max_count == 1:
        raise DataError("the disk is full")
    if arguments.max_count == 2:
        raise KeyboardInterrupt
    if arguments.max_count == 3:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    if arguments.max_count == 4:
        raise PermissionError(13, "Permission denied", "/root/out")
    if arguments.max_count == 5:
        raise OSError(28, "No space left on device")
    print(f"counted {arguments.max_count}")


@pytest.fixture(autouse=True)
def count_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, ("count",), Command("Count.", f"{__name__}:run", "train"))


def test_nothing_asked_shows_the_commands_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == USAGE
    assert "streetmask COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_shows_every_command(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main([word]) == 0
    out = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert " ".join(name) in out
        assert command.summary in out


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly", "away"]) == USAGE
    assert "no command 'fly away'" in capsys.readouterr().err


def test_names_are_kebab_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "--max-count", "7"]) == 0
    assert capsys.readouterr().out == "counted 7\n"


def test_a_wrong_argument_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["count", "--max-count", "many"])
    assert caught.value.code == USAGE


@pytest.mark.parametrize(
    ("count", "status", "sentence"),
    [
        ("-1", 1, "streetmask: --max-count: expected 0 or more, but -1 came\n"),
        ("1", 1, "streetmask: the disk is full\n"),
        ("2", INTERRUPTED, ""),
        ("3", 1, "streetmask: `count` needs the package torch: pip install 'streetmask[train]'\n"),
        ("4", 1, "streetmask: /root/out: Permission denied\n"),
        ("5", 1, "streetmask: No space left on device\n"),
    ],
)
def test_errors_become_a_sentence_and_a_status(
    capsys: pytest.CaptureFixture[str], count: str, status: int, sentence: str
) -> None:
    assert main(["count", "--max-count", count]) == status
    assert capsys.readouterr().err == sentence


def test_every_command_of_this_installation_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in [("demo",), ("segment",), ("serve",), ("stream",), ("data", "synth")]:
        with pytest.raises(SystemExit) as caught:
            main([*name, "--help"])
        assert caught.value.code == 0
        assert f"usage: streetmask {' '.join(name)}" in capsys.readouterr().out


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = "import sys; from streetmask.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.replace("'", "").strip("[]\n").split(", "))
    assert "streetmask.cli" in loaded
    assert not {"grpc", "av", "cv2", "supervision", "torch", "onnxruntime"} & loaded


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "streetmask", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: streetmask COMMAND")
