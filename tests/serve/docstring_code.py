"""The example of a module's docstring, so that a test can run what a user copies."""

from textwrap import dedent, indent
from types import ModuleType


def example_of(module: ModuleType, address: str, asynchronous: bool = False) -> str:
    """The docstring's indented lines, for a server at that address; with ``asynchronous`` as the function ``main``."""
    lines = (module.__doc__ or "").splitlines()
    code = dedent("\n".join(line for line in lines if line.startswith("    ")))
    assert "127.0.0.1:50051" in code
    code = code.replace("127.0.0.1:50051", address)
    return f"async def main():\n{indent(code, '    ')}" if asynchronous else code
