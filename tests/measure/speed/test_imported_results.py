"""Results of other tools: real files of ais_bench and benchmark_app, the documented form of trtexec's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from assay.errors import BadInputError
from assay.measure.speed.imported_results import ImportedRow, import_result
from assay.measure.speed.loadgen_logs import LoadgenRow

# What benchmark_app of OpenVINO 2026.4.1 wrote for -b 2 -t 2 -report_type no_counters -json_stats.
BENCHMARK_APP = {
    "cmd_options": {"-d": "CPU", "-b": "2", "-t": "2"},
    "configuration_setup": {
        "topology": "Model1",
        "target device": "CPU",
        "API": "async",
        "batch size": "2",
        "number of parallel infer requests": "2",
    },
    "execution_results": {
        "first inference time (ms)": "48.77",
        "total execution time (ms)": "2066.03",
        "total number of iterations": "88",
        "latency (ms)": "30.10",
        "avg latency": "46.48",
        "min latency": "24.54",
        "max latency": "134.39",
        "throughput": "85.19",
    },
}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def make_query(start: float, compute_ms: float) -> dict[str, float]:
    return {"startComputeMs": start, "endComputeMs": start + compute_ms, "computeMs": compute_ms}


def test_ais_bench_states_its_own_throughput(golden: Path) -> None:
    path = golden / "ais_bench_newest" / "r_summary.json"
    row = import_result(path)
    assert isinstance(row, ImportedRow)
    stated = json.loads(path.read_text())
    assert (row.tool, row.clock, row.batch_size, row.call_count) == ("ais_bench", "device", 4, 3)
    assert row.images_per_second == stated["throughput"]
    assert row.latency_ms["p50"] == stated["NPU_compute_time"]["median"]
    assert row.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_benchmark_app_counts_frames_over_the_whole_time(tmp_path: Path) -> None:
    row = import_result(write(tmp_path / "report.json", BENCHMARK_APP))
    assert isinstance(row, ImportedRow)
    assert (row.tool, row.clock, row.batch_size, row.device) == ("benchmark_app", "call", 2, "CPU")
    assert row.images_per_second == pytest.approx(88 * 2 / 2.06603, rel=1e-3)
    assert row.latency_ms == {"p50": 30.10, "mean": 46.48, "min": 24.54, "max": 134.39}


def test_trtexec_queries_that_overlap_are_counted_over_the_time_both_took(tmp_path: Path) -> None:
    queries = [make_query(0, 10), make_query(5, 10), make_query(100, 5)]
    row = import_result(write(tmp_path / "times.json", queries), 8)
    assert isinstance(row, ImportedRow)
    assert (row.tool, row.clock, row.call_count) == ("trtexec", "device", 3)
    assert row.images_per_second == 3 * 8 / 0.020  # 15 ms and 5 ms
    assert row.latency_ms["p50"] == 10


def test_trtexec_needs_the_batch_size(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not say the batch size") as raised:
        import_result(write(tmp_path / "times.json", [make_query(0, 10)]))
    assert "@bs16" in raised.value.hint


def test_loadgens_log_becomes_its_own_row(tmp_path: Path) -> None:
    logged = {
        "effective_scenario": "Offline",
        "effective_test_mode": "PerformanceOnly",
        "effective_min_duration_ms": 1000,
        "effective_samples_per_query": 55000,
        "qsl_reported_performance_count": 200,
        "result_validity": "VALID",
        "result_query_count": 1,
        "result_samples_per_second": 4874.5,
    }
    path = tmp_path / "any name.txt"
    path.write_text("".join(f":::MLLOG {json.dumps({'key': k, 'value': v})}\n" for k, v in logged.items()))
    row = import_result(path)
    assert isinstance(row, LoadgenRow)
    assert (row.scenario, row.is_valid, row.value) == ("Offline", True, 4874.5)
    assert row.imported_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"accuracy": 1}, "JSON of no tool that is known; found accuracy"),
        ([], "JSON of no tool that is known"),
        ({"NPU_compute_time": {"mean": 10.0}, "throughput": 150.0}, "give a batch size of 1.50"),
        ({"NPU_compute_time": {}, "throughput": 150.0}, "a value is missing"),
        ([{"computeMs": 1.0}], "a value is missing"),
    ],
)
def test_a_file_of_an_unknown_tool_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        import_result(write(tmp_path / "file.json", content), 4 if isinstance(content, list) else None)


def test_another_batch_size_than_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the file says batch size 2, not 16"):
        import_result(write(tmp_path / "report.json", BENCHMARK_APP), 16)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"\xff\xfe\x00"])
def test_what_cannot_be_read_names_what_was_expected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadInputError) as raised:
        import_result(tmp_path / "file")
    assert all(tool in raised.value.hint for tool in ("trtexec", "ais_bench", "benchmark_app", "LoadGen"))
