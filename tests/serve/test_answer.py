"""What is asked and what is answered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scene.errors import ConfigurationError
from scene.instances import Instance
from serve.answer import MaskRegion, Options, StageClock


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("score_threshold", 1.5, "score_threshold: expected 0 to 1, but 1.5 came"),
        ("score_threshold", -0.1, "score_threshold: expected 0 to 1, but -0.1 came"),
        ("score_threshold", float("nan"), "score_threshold: expected 0 to 1, but nan came"),
        ("max_instances", -1, "max_instances: expected 0 or more, but -1 came"),
    ],
)
def test_options_out_of_range_are_refused_by_field(field: str, value: float, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == sentence
    assert caught.value.field == field


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 1)))
def test_a_mask_comes_back_from_its_run_lengths(mask: np.ndarray) -> None:
    instance = Instance(0, 1.0, 1.0, (3.0, 2.0, 23.0, 22.0), (3, 2), mask)
    region = MaskRegion.of(instance)
    assert np.array_equal(region.pixels(), mask)
    assert np.array_equal(region.on_frame((30, 40)), instance.full_mask((30, 40)))


def test_a_clock_that_timed_nothing_counts_all_as_waiting() -> None:
    times = StageClock(arrived_s=0.0).times()
    assert times.queue_ms == times.total_ms > 0


def test_a_clock_adds_up() -> None:
    clock = StageClock(arrived_s=0.0)
    clock.add("network", 3.0)
    clock.add("network", 4.0)
    with clock.stage("decode"):
        pass
    times = clock.times()
    assert times.network_ms == 7.0
    assert times.queue_ms + times.network_ms + times.decode_ms == pytest.approx(times.total_ms)
