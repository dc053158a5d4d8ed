"""A run of ``bench train`` on the page."""

from bench.markdown import machine, markdown, mebibytes, number
from bench.report import Document, ratio_text
from bench.train_lines import LOADER_RATES, fed_words

NOTE = """A step is forward, losses, backward and update of the trainer that `streetmask train` runs, on
augmented pictures that lie ready; *times base* is in images a second. The loader reads, decodes, augments and collates
alone; *per CPU second* is what one core that does nothing else would load."""


def train_parts(run: Document) -> list[str]:
    """Steps, the loader alone, and both together."""
    heads = ["subject", "images a second", "median ms a step", "p95", "max", "times base", "memory MiB", "GPU MiB"]
    rows = [
        [f"`{name}`", f"{row['images_a_second']:.2f}"]
        + [number(row["summary_ms"]["total"][key]) for key in ("median", "p95", "max")]
        + [ratio_text(row["times_base"]), mebibytes(row["host_peak_bytes"]), mebibytes(row["device_peak_bytes"])]
        for name, row in run["subjects"].items()
        if "times_base" in row
    ]
    settings = run["settings"]
    parts = [
        machine(run),
        f"{settings['rounds']} steps each, interleaved; {settings['pictures']} pictures ({settings['data']}); "
        f"{settings['threads']} threads. Base: `{run['base']}`.",
    ]
    parts += [markdown(heads, rows)] if rows else []
    loaders = [[workers, *(number(row[key]) for key in LOADER_RATES)] for workers, row in run["loader"].items()]
    if loaders:
        loader_heads = ["loader processes", "images a second", "a process", "per CPU second"]
        parts.append(markdown(loader_heads, loaders))
    return [*parts, f"{fed_words(run['fed'])}."] if run["fed"] else parts
