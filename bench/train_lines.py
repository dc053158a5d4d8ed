"""A run of ``bench train`` in words."""

from typing import Any

from bench.report import Document, aligned, ratio_text

LOADER_RATES = ("images_a_second", "images_a_second_a_process", "images_a_cpu_second")


def lines(report: Document) -> list[str]:
    """The report as tables for people."""
    heads = ["subject", "images/s", "step ms", "p95", "max", "times base", "CPU s/step", "host MiB", "GPU MiB"]
    steps = [
        [name, f"{row['images_a_second']:.2f}"]
        + [f"{row['summary_ms']['total'][key]:.0f}" for key in ("median", "p95", "max")]
        + [ratio_text(row["times_base"]), f"{row['summary_ms']['cpu']['median'] / 1000:.2f}"]
        + [_mebibytes(row[key]) for key in ("host_peak_bytes", "device_peak_bytes")]
        for name, row in report["subjects"].items()
        if "times_base" in row
    ]
    found = aligned([heads, *steps]) if steps else []
    loaders = [[workers, *(f"{row[key]:.1f}" for key in LOADER_RATES)] for workers, row in report["loader"].items()]
    if loaders:
        found += aligned([["loader processes", "images/s", "per process", "per CPU second"], *loaders])
    return [*found, fed_words(report["fed"])] if report["fed"] else found


def fed_words(fed: dict[str, Any]) -> str:
    """What came of training from the loader, in a sentence without its end."""
    busy = fed["gpu_busy_share"]
    return (
        f"`{fed['subject']}` fed by {fed['workers']} processes: {fed['images_a_second']:.2f} images a second, "
        f"{fed['waiting_share']:.1%} of the time waiting for them" + ("" if busy is None else f", GPU busy {busy:.0%}")
    )


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:.0f}"
