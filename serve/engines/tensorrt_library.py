"""TensorRT and TensorRT-RTX: two packages with one Python interface, each loaded when it is first asked for."""

import logging
import platform
from functools import cache
from importlib import import_module
from typing import Any, Literal, get_args

from scene.errors import ConfigurationError

LOG = logging.getLogger(__name__)

Product = Literal["tensorrt", "tensorrt-rtx"]

_PACKAGES: dict[Product, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def load_library(product: Product) -> Any:
    """The product's package; ``ConfigurationError`` where it, or what it links, is not installed."""
    if product not in get_args(Product):
        raise ConfigurationError("product", f"expected {' or '.join(get_args(Product))}, but {product} came")
    package = _PACKAGES[product]
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            "product",
            f"{product} needs the package {package}, which is not installed: pip install 'streetmask[{product}]'",
        ) from error
    except OSError as error:  # the package is there, but not the libraries that it opens
        raise ConfigurationError(
            "product", f"{product} is not installed whole ({error}): pip install --force-reinstall {package}"
        ) from error


def machine_platform() -> str:
    """Operating system and processor, such as linux-x86_64: a plan holds code for both."""
    return f"{platform.system()}-{platform.machine()}".lower()


@cache
def library_log(product: Product) -> Any:
    """The product's one log in this process: ``clear`` before a step, and after it ``reason`` is why it failed.

    The library goes on with the first log that it is given, whatever others follow, so there is one for all.
    """
    library = load_library(product)
    severity = library.ILogger.Severity

    class Log(library.ILogger):  # type: ignore[misc, name-defined]  # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self._errors: list[str] = []

        def clear(self) -> None:
            self._errors.clear()

        def reason(self) -> str:
            return one_line(self._errors[0]) if self._errors else "it does not say why"

        def log(self, level: Any, text: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                self._errors.append(text)
            elif level == severity.WARNING:
                LOG.debug("%s: %s", product, text)

    log = Log()
    if hasattr(library, "init_libnvinfer_plugins"):
        library.init_libnvinfer_plugins(log, "")  # full TensorRT does DeformConv by a plugin of its own
    return log


_DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}


def numpy_dtype(dtype: Any) -> str:
    """The library's name of a tensor's type as numpy's: its INT32 is int32, its FLOAT float32."""
    name = str(dtype.name)
    return _DTYPES.get(name, name.lower())


def one_line(said: str) -> str:
    """The library's words without line breaks and without their full stop."""
    return " ".join(said.split()).removesuffix(".")
