"""The tiny model of the export tests serves here, too."""

from tests.export.conftest import published  # noqa: F401 - a fixture is found by its name
