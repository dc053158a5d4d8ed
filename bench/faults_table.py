"""A run of ``bench serve --fault`` on the page."""

from bench.markdown import machine, markdown
from bench.report import Document

NOTE = """What was done to a server, and what came of it. Where clients misbehave, a well-behaved neighbour sends 25
frames a second in turns of three seconds (ten for those that vanish) without and with them."""


def faults_parts(run: Document) -> list[str]:
    """One row a fault."""
    rows = []
    for name, found in run["faults"].items():
        ratio = found.get("p99_ratio")
        rows.append([name, found["did"], found["came"], "" if ratio is None else f"{ratio:.2f}"])
    heads = ["fault", "what was done", "what came of it", "neighbours' p99, with to without"]
    return [machine(run), markdown(heads, rows, words=3)]
