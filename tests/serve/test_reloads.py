"""Deployments over and over leave no memory behind."""

import subprocess
import sys
from statistics import median

import pytest

from serve.engines import EngineName, why_not

_RELOADS = """
import asyncio, sys
from pathlib import Path
import psutil
from serve.deployment import Deployment, LocalDeployer
from serve.models import Models
from serve.repository import Repository
from serve.settings import ServerSettings

async def main(engine):
    models = Models()
    settings = ServerSettings(engine=engine, precision="int8")
    deployer = LocalDeployer(models, Repository(Path("models")), settings)
    for _ in range(40):
        await deployer.deploy(Deployment("street-nano", 1, force=True))
        print(psutil.Process().memory_info().rss >> 20, flush=True)
    await models.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_forty_reloads_of_the_bundled_network_leave_its_memory_flat(engine: EngineName) -> None:
    """One that stayed behind would hold 160 MiB or more; what an allocator keeps differs by 50 from one to the next.

    The first ten are left out, in which that grows.
    """
    pytest.importorskip("psutil", reason="of the bench extra")
    if reason := why_not(engine):
        pytest.skip(reason)
    done = subprocess.run([sys.executable, "-c", _RELOADS, engine], capture_output=True, text=True, check=True)
    held_mib = [int(line) for line in done.stdout.split()]
    assert len(held_mib) == 40
    assert median(held_mib[30:]) < median(held_mib[10:20]) + 100, held_mib
