"""Generate the Python code of the wire contract: ``python -m protos.generate``; with ``--check``, only compare.

Runs ``protoc`` from grpcio-tools with the repository's root as its include path, so that the generated modules import
each other as members of the package ``protos``. Needs the ``dev`` extra.
"""

import argparse
import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = tuple(Path("protos/streetmask/v1") / f"{name}.proto" for name in ("admin", "segmentation"))
OUTPUTS = tuple(
    source.with_name(f"{source.stem}_{ending}")
    for source in SOURCES
    for ending in ("pb2.py", "pb2.pyi", "pb2_grpc.py", "pb2_grpc.pyi")
)


def generate(folder: Path) -> None:
    """Write the generated modules under the folder, at their paths from the repository's root."""
    from grpc_tools import protoc  # noqa: PLC0415 - of the dev extra: the tests import this module without it

    arguments = [f"--{kind}_out={folder}" for kind in ("python", "mypy", "grpc_python", "mypy_grpc")]
    well_known = files("grpc_tools") / "_proto"
    scripts = Path(sysconfig.get_path("scripts"))
    plugins = [f"--plugin={scripts / f'protoc-gen-{kind}'}" for kind in ("mypy", "mypy_grpc")]
    sources = [str(ROOT / source) for source in SOURCES]
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *plugins, *arguments, *sources])
    if status != 0:
        raise SystemExit(f"protoc failed on {', '.join(map(str, SOURCES))} with status {status}")


def differing() -> list[Path]:
    """The generated files in the repository that are missing or not what the contract gives now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        return [path for path in OUTPUTS if not _same(ROOT / path, Path(folder) / path)]


def main(arguments: list[str] | None = None) -> int:
    """Generate, or with ``--check`` compare: status 1 when a file is out of step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is checked in, write nothing")
    if not parser.parse_args(arguments).check:
        generate(ROOT)
        return 0
    paths = differing()
    for path in paths:
        print(f"{path} is out of step with its .proto file: run `python -m protos.generate`", file=sys.stderr)
    return 1 if paths else 0


def _same(kept: Path, fresh: Path) -> bool:
    return kept.is_file() and kept.read_bytes() == fresh.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
