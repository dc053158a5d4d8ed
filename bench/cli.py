"""The command ``bench``."""

from collections.abc import Sequence

from streetmask.command_line import Command, CommandLine

_EVERYTHING = "bench,serve,client,train,export"

COMMANDS: dict[tuple[str, ...], Command] = {
    ("engine",): Command("Time networks and engines against each other.", "bench.engine:engine", _EVERYTHING),
    ("export",): Command(
        "Write networks in every precision; time, weigh and compare what each engine makes of them.",
        "bench.exporting:export",
        _EVERYTHING,
    ),
    ("train",): Command("Time steps of training and the loader that feeds them.", "bench.training:train", _EVERYTHING),
    ("serve",): Command("Load a server with streams.", "bench.serving:serve", "bench,serve,client"),
    ("track",): Command(
        "Measure on generated clips whether ids persist and what flickers.",
        "bench.tracking:track",
        "bench,serve,tracking,client",
    ),
    ("triton",): Command(
        "Compare the server with Triton Inference Server.", "bench.triton:triton", "bench,serve,client"
    ),
    ("accuracy",): Command(
        "Measure box and mask AP through the path that is timed.", "bench.accuracy:accuracy", _EVERYTHING
    ),
    ("decode",): Command(
        "Measure what decoding JPEGs at reduced scale costs in AP and saves in time.",
        "bench.decode:decode",
        _EVERYTHING,
    ),
    ("compare",): Command("Tell a change between two runs from noise.", "bench.compare:compare", "bench"),
    ("table",): Command("Write the tables of BENCHMARKS.md from runs.", "bench.table:table", "bench"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status: 0, 1 for an error or a regression, 2 for wrong usage, 130."""
    return CommandLine("bench", "What a user gets, and what is in each millisecond of it.", COMMANDS).run(arguments)
