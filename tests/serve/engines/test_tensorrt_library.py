"""The two TensorRT packages: what is said where one is missing, and its log."""

import logging
from types import SimpleNamespace

import pytest

from scene.errors import ConfigurationError
from serve.engines import tensorrt_library
from serve.engines.tensorrt_library import load_library, machine_platform, numpy_dtype, one_line


def test_a_product_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="product: expected tensorrt or tensorrt-rtx, but onnx came"):
        load_library("onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ImportError("No module"), r"needs the package tensorrt_rtx, .*: pip install 'streetmask\[tensorrt-rtx\]'"),
        (OSError("libx.so: cannot open"), r"not installed whole \(libx.so: cannot open\): pip install --force-rein"),
    ],
)
def test_what_is_missing_is_told_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def failing(_: str) -> None:
        raise error

    monkeypatch.setattr(tensorrt_library, "import_module", failing)
    with pytest.raises(ConfigurationError, match=sentence):
        load_library("tensorrt-rtx")


def test_types_have_numpys_names() -> None:
    names = ["FLOAT", "HALF", "UINT8", "INT32", "BF16"]
    found = [numpy_dtype(SimpleNamespace(name=name)) for name in names]
    assert found == ["float32", "float16", "uint8", "int32", "bfloat16"]


def test_words_of_the_library_become_one_line() -> None:
    assert one_line("") == ""
    assert one_line("a\n  b c.\n") == "a b c"


def test_a_platform_is_a_system_and_a_processor() -> None:
    assert len(machine_platform().split("-", 1)) == 2
    assert machine_platform() == machine_platform().lower()


def test_one_log_keeps_the_first_error_since_it_was_cleared(caplog: pytest.LogCaptureFixture) -> None:
    library = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    log = tensorrt_library.library_log("tensorrt-rtx")
    assert log is tensorrt_library.library_log("tensorrt-rtx")
    log.clear()
    assert log.reason() == "it does not say why"
    severity = library.ILogger.Severity
    with caplog.at_level(logging.DEBUG):
        log.log(severity.VERBOSE, "chatter")
        log.log(severity.WARNING, "beware")
    log.log(severity.ERROR, "first.\n")
    log.log(severity.INTERNAL_ERROR, "second")
    assert log.reason() == "first"
    assert "beware" in caplog.text
    assert "chatter" not in caplog.text
    log.clear()
    assert log.reason() == "it does not say why"
