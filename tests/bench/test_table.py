"""The page that is written from runs."""

import json
from pathlib import Path
from typing import Any

from bench.cli import main
from bench.load import Outcome, StreamLog, load_report
from bench.samples import totals
from bench.table import page
from tests.bench.test_compare import run_document
from tests.bench.test_exporting import export_document

ONE = {"ratio": 1.0, "low": 1.0, "high": 1.0}


def engine_document() -> dict[str, Any]:
    stages = {"total": [10.0, 12.0, 11.0], "prepare": [1.0, 1.0, 1.0], "graph": [8.0, 9.0, 8.0], "paste": [1.0] * 3}
    subject = {
        "target": "m",
        "engine": "onnxruntime",
        "source_sha256": "abc",
        "load_ms": 1500.0,
        "first_call_ms": 500.0,
        "rows_a_frame": 20.0,
        "pasted_a_frame": 20.0,
        "host_peak_bytes": 200 << 20,
        "summary_ms_a_frame": totals(stages),
        "graph_split_ms": {"network": 7.0, "nms": 0.6, "masks": 0.4},
        "ratio_to_base": ONE,
        "graph_ratio_to_base": {**ONE, "ratio": 0.9},
    }
    run = run_document("engine", base="m/onnxruntime", subjects={"m/onnxruntime": subject})
    run["machine"] |= {"python": "3.11.7", "commit": "abc", "system": "Linux"}
    run["settings"] |= {"frame_size": [1280, 720], "frames": "generated", "frame_count": 24, "threads": 2}
    return run


def accuracy_document() -> dict[str, Any]:
    precision = {"ap": 0.25, "ap50": 0.4, "small": 0.1, "medium": None, "large": 0.5, "by_class": {"car": {"ap": 0.3}}}
    run, own = engine_document() | {"kind": "accuracy"}, {"cityscapes": {"ap": 0.2}}
    return run | {
        "accuracy": {
            "m/onnxruntime": {
                "unseen": {"images": 500, "source_sha256": "abc", "box": {"ap": 0.3}, "mask": precision} | own
            }
        }
    }


def serve_document() -> dict[str, Any]:
    log = StreamLog(2.0, [0.0, 0.5], [0.0, 0.5])
    log.outcomes[0] = Outcome("answered", 60.0, at_s=0.06, stages_ms={"network": 40.0})
    log.outcomes[1] = Outcome("dropped", 5.0, detail="newer_frame")
    run = engine_document() | {"kind": "serve", "loads": {"load": load_report([log])}}
    run["throughput"] = {"served_fps": 20.0, "bare_engine_fps": 25.0, "served_over_bare_engine": {**ONE, "ratio": 0.8}}
    run["sweep"] = {"bound_ms": 150.0, "highest_fps": 15.0}
    run["settings"] |= {"streams": 1, "arrivals": "constant", "seconds": 1.0, "jpeg_quality": 90, "frames": None}
    return run | {"server_memory": {"resident_bytes": 100 << 20}}


def train_document() -> dict[str, Any]:
    subject = {
        "summary_ms": totals({"total": [400.0, 500.0, 600.0], "cpu": [900.0] * 3}),
        "images_a_second": 4.0,
        "times_base": {"ratio": 1.6, "low": 1.5, "high": 1.7},
        "host_peak_bytes": 3000 << 20,
        "device_peak_bytes": None,
    }
    rates = {"images_a_second": 50.0, "images_a_second_a_process": 25.0, "images_a_cpu_second": 30.0}
    fed = {"subject": "m/a", "workers": 2, "images_a_second": 3.5, "waiting_share": 0.015, "gpu_busy_share": 0.85}
    run = engine_document() | {"kind": "train", "base": "m/a", "subjects": {"m/a": subject, "m/cut": {}}}
    run["settings"] |= {"pictures": 16, "data": "generated, 1024x512"}
    return run | {"loader": {"2": rates}, "fed": fed}


def test_no_run_is_refused(capsys: Any) -> None:
    assert main(["table"]) == 1
    assert "expected one file at least" in capsys.readouterr().err


def test_speed_and_accuracy_stand_side_by_side() -> None:
    text = page([engine_document(), accuracy_document()])
    row = next(line for line in text.splitlines() if line.startswith("| `m/onnxruntime` | 11.0"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        "11.0",
        "11.8",
        "11.9",
        "12.0",
        "1.0",
        "8.0",
        "7.0",
        "0.60",
        "0.40",
        "1.0",
        "20.0",
        "1.000 (1.000 to 1.000)",
        "0.900 (1.000 to 1.000)",
        "25.00",
        "2.0",
        "200",
    ]
    assert "| `m/onnxruntime` | unseen | 500 | 30.00 | 25.00 | 40.00 | 10.00 |  | 50.00 | 20.00 |  |" in text


def test_the_time_of_decoding_stands_where_frames_were_files() -> None:
    run = engine_document()
    assert "| decode |" not in page([run])
    run["settings"]["decode"] = True
    run["subjects"]["m/onnxruntime"]["summary_ms_a_frame"]["decode"] = {"median": 3.25}
    assert "| 12.0 | 3.2 | 1.0 | 8.0 |" in page([run])


def test_what_could_not_be_measured_is_named_with_its_reason() -> None:
    run = engine_document() | {"left_out": {"m/tensorrt": "no GPU", "m/caffe": "gone", "m/tensorrt-rtx": "no GPU"}}
    assert "Not measured here:\n\n- `m/tensorrt`, `m/tensorrt-rtx`: no GPU.\n- `m/caffe`: gone." in page([run])
    assert "Not measured here" not in page([engine_document()])


def test_each_precision_stands_with_its_size_and_its_parity() -> None:
    text = page([export_document()])
    assert "| `m/onnxruntime` | 8.0 | 8.9 | 1.000 (1.000 to 1.000) | 7.0 | 0.9950 | 0.9900 | 2.0e-03 | 200 |" in text
    assert "| `m/openvino` | 8.0 | 8.9 | 0.500 (1.000 to 1.000) | 7.0 |  |  |  | 200 |" in text
    assert "| `m` | onnx float32 | the weights | 7.0 | 12.5 | 900 |" in text
    assert "- `m/tensorrt-float16`, `m/tensorrt-int8`: no GPU here." in text


def test_memory_under_a_load_says_how_it_grew_where_the_load_is_long() -> None:
    run = serve_document()
    memory = {f"{part}_bytes": 100 << 20 for part in ("start", "middle", "end", "most")}
    run["loads"]["load"]["server_memory"] = memory | {"slope_bytes_a_second": 20 << 20}
    words = "Its memory under the load *load*: 100, 100, 100 MiB at the start, in the middle and at the end of "
    assert words + "2 frames, 100 at most." in page([run])
    run["loads"]["load"] |= {"frames": {"due": 5000}, "offered_fps": 40.0}
    slope = words + "5000 frames, 100 at most; over the second half +500.00 MiB a thousand frames"
    assert slope + "." in page([run])
    for warm_mib, change in ((80, "+25.0"), (100, "+0.0"), (125, "-20.0")):
        run["loads"]["load"]["server_memory"]["warm_bytes"] = warm_mib << 20
        assert f"{slope}; at the end {change} % to after the first tenth." in page([run])


def test_served_figures_say_what_was_dropped_and_how_old_answers_were() -> None:
    text = page([serve_document()])
    assert "| load | 2.0 | 1.0 | 1 of 2 | 0 | 60.0 | 60.0 | 60.0 | 60.0 | 0.00 | 20.0 | 20.0 | 1.5 | 1.000 |" in text
    assert "- 0.800 (1.000 to 1.000) of the engine alone in a loop, 25.0 frames a second in the same run." in text
    assert "within 150 ms: 15.0 fps" in text
    assert "100 MiB" in text


def test_training_stands_with_the_loader_that_feeds_it() -> None:
    text = page([train_document()])
    assert "| `m/a` | 4.00 | 500.0 | 590.0 | 600.0 | 1.600 (1.500 to 1.700) | 3000 |  |" in text
    assert "m/cut" not in text
    assert "| 2 | 50.0 | 25.0 | 30.0 |" in text
    assert "`m/a` fed by 2 processes: 3.50 images a second, 1.5% of the time waiting for them, GPU busy 85%." in text


def test_a_stopped_run_and_its_warnings_are_shown(tmp_path: Path) -> None:
    run = engine_document() | {"partial": True, "warnings": ["the CPU's clock moved"]}
    path, out = tmp_path / "a.json", tmp_path / "page.md"
    path.write_text(json.dumps(run))
    assert main(["table", str(path), "--out", str(out)]) == 0
    assert "**Stopped early.** **Warning: the CPU's clock moved.**" in out.read_text()


def test_the_ap_of_another_file_does_not_stand_beside_the_speed() -> None:
    other = accuracy_document()
    other["accuracy"]["m/onnxruntime"]["unseen"]["source_sha256"] = "another"
    row = next(
        line for line in page([engine_document(), other]).splitlines() if line.startswith("| `m/onnxruntime` | 11")
    )
    assert "25.00" not in row
