"""What moved while it was measured."""

from dataclasses import replace

from bench.machine import State, Watch, read_state, warnings

QUIET = State(cpu_mhz=3000.0, cpu_c=50.0, load=0.1, busy_s=10.0, stolen_s=0.0, total_s=100.0)


def test_a_quiet_machine_gives_no_warning() -> None:
    assert warnings(QUIET, QUIET, 0.0, 0.0) == []
    nothing_known = State(None, None, 0.0, 0.0, 0.0, 0.0)
    assert warnings(nothing_known, nothing_known, 0.0, 0.0) == []


def test_each_thing_that_moved_is_a_sentence() -> None:
    after = replace(QUIET, cpu_mhz=2000.0, cpu_c=80.0, gpu_throttled="reasons 0x8")
    found = warnings(QUIET, after, 0.5, 0.2)
    assert [sentence.split(" ", 2)[1] for sentence in found] == ["CPU's", "CPU", "GPU", "programs", "host"]
    assert "moved from 3000 to 2000 MHz" in found[0]


def test_the_report_names_the_machine() -> None:
    report = Watch().report()
    assert report["machine"]["cpus"] >= 1
    assert report["machine"]["python"]
    assert 0 <= report["meanwhile"]["others_cpu_share"] <= 1.5
    assert read_state().total_s > 0
