"""The tiny models of the export's and the server's tests serve here, too."""

from tests.export.conftest import published  # noqa: F401 - a fixture is found by its name
from tests.serve.conftest import model_folder, tiny  # noqa: F401
