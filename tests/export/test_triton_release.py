"""Which operators a release of Triton can run."""

import pytest

from export.triton_release import _ONNX_RUNTIME, find_release
from scene.errors import ConfigurationError


@pytest.mark.parametrize("version", ["", "26", "26.13", "26.8", "2.71.0", "latest", "26.08-py3"])
def test_what_is_no_release_is_told(version: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        find_release(version)
    assert str(refused.value) == (
        f"triton_version: expected the year and month of a release, such as 26.08, but {version!r} came"
    )


@pytest.mark.parametrize("version", ["19.01", "24.12", "25.02"])
def test_a_release_on_which_the_graph_was_not_tried_is_refused(version: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"expected 25\.03 or later, since the graph was tried on the .* older"
    ):
        find_release(version)


def test_onnx_runtime_has_the_operator_from_26_07() -> None:
    assert find_release("25.03").lowering == "GridSample"
    assert find_release("26.06").lowering == "GridSample"
    assert find_release("26.07").lowering == "DeformConv"
    assert find_release("26.07").onnxruntime == "1.27.0"


def test_tensorrt_11_comes_with_26_06() -> None:
    assert find_release("26.05").tensorrt_major == 10
    assert find_release("26.06").tensorrt_major == 11


def test_a_release_newer_than_the_table_is_taken_as_the_newest_in_words() -> None:
    newer, newest = find_release("99.12"), find_release("26.08")
    assert newest.remark == ""
    assert newer.remark == "what it holds is not known here: taken to be what 26.08 holds"
    assert (newer.version, newer.onnxruntime, newer.lowering) == ("99.12", newest.onnxruntime, newest.lowering)


def test_the_table_leaves_no_month_out() -> None:
    months = sorted(12 * int(version[:2]) + int(version[3:]) for version in _ONNX_RUNTIME)
    assert months == list(range(months[0], months[-1] + 1))
