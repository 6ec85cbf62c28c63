"""`assay benchmark` through the command line: fresh processes, callers, a bound on latency, imports."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from assay.engines.constant_engine import ConstantEngine
from assay.errors import EngineError, UsageError
from assay.images.request import ImageRequest
from assay.measure.speed.repeats import RepeatPlan
from assay.measure.speed.throughput import RepeatResult, measure_compiled
from assay.models.record import ModelRecord
from assay.runs.place import RunPlace
from assay.workflows.speed import measure_repeat
from assay.workflows.speed.run_benchmark import BenchmarkRequest, run_benchmark
from compiling import compile_with
from conftest import RunAssay

QUICK = ("--batch-size", "1,2", "--seconds", "0.01")


@pytest.fixture
def compiled(run_assay: RunAssay, colour_onnx: Path, tmp_path: Path) -> Path:
    assert run_assay("compile", colour_onnx, tmp_path / "c", "--engine", "constant").returncode == 0
    return tmp_path / "c"


def test_fresh_processes_measure_each_repeat_in_a_process_of_its_own(
    run_assay: RunAssay, compiled: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = run_assay("benchmark", compiled, *QUICK, "--fresh-processes", "-o", run)
    assert done.returncode == 0, done.stderr
    stored = json.loads((run / "benchmark.json").read_text())
    assert len(stored["loading"]) == 5
    assert all(cost["peak_memory_bytes"] >= cost["memory_loaded_bytes"] > 0 for cost in stored["loading"])
    assert [(row["batch_size"], len(row["call_ms"])) for row in stored["rows"]] == [(1, 5), (2, 5)]
    assert all(row["fresh_processes"] for row in stored["rows"])
    assert "process of its own" in (run / "report.md").read_text()


def test_models_take_turns_in_their_fresh_processes(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a slow spell of the machine meets all of them."""
    order: list[str] = []
    plan = RepeatPlan(batch_sizes=(1,), repeats=2, seconds=0.001)

    def measure_here(request: object) -> RepeatResult:
        order.append(Path(request.compiled_dir).name)  # type: ignore[attr-defined]  # of measure_repeat
        return measure_compiled(compiled, np.zeros((1, 3, 224, 224), np.float32), plan, lambda *_: None)

    monkeypatch.setattr(measure_repeat, "_run_process", measure_here)
    models = [Path("a"), Path("b")]
    found = measure_repeat.measure_in_fresh_processes(
        dict.fromkeys(models, plan),
        np.zeros((1, 3, 224, 224), np.float32),
        dict.fromkeys(models, lambda *_: None),
    )
    assert order == ["a", "b", "a", "b"]
    assert [len(found[model]) for model in models] == [2, 2]


def test_a_fresh_process_binds_itself_to_its_parent_before_it_loads_anything(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it ends where the parent is killed."""
    asked: list[bytes] = []

    def keep_request(request: object) -> RepeatResult:
        asked.append(msgspec.json.encode(request))
        raise EngineError("not measured")

    def end(parent: int) -> None:
        raise SystemExit(parent)

    monkeypatch.setattr(measure_repeat, "_run_process", keep_request)
    plan = RepeatPlan(batch_sizes=(1,), repeats=1, seconds=0.001)
    with pytest.raises(EngineError):
        measure_repeat.measure_in_fresh_processes({compiled: plan}, np.zeros((1, 3, 8, 8), np.float32), {})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(asked[0])))
    monkeypatch.setattr(measure_repeat, "end_with_parent", end)
    with pytest.raises(SystemExit) as ended:  # the images are gone by now: reading them would fail
        measure_repeat.main()
    assert ended.value.code == os.getpid()


def test_each_number_of_callers_is_measured_and_the_fastest_within_the_bound_recommended(
    run_assay: RunAssay, compiled: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ("--callers", "1,3", "--max-latency-ms", "60000", "-o", run)
    done = run_assay("benchmark", compiled, *QUICK, *options)
    assert done.returncode == 0, done.stderr
    stored = json.loads((run / "benchmark.json").read_text())
    assert [(row["caller_count"], row["batch_size"]) for row in stored["rows"]] == [
        (1, 1),
        (1, 2),
        (3, 1),
        (3, 2),
    ]
    fastest = max(stored["rows"], key=lambda row: row["images_per_second"]["median"])
    (recommended,) = stored["recommended"]
    assert (recommended["batch_size"], recommended["caller_count"]) == (
        fastest["batch_size"],
        fastest["caller_count"],
    )
    assert not any(row["validity"]["is_valid"] for row in stored["rows"])  # far too short
    assert "INVALID (!), measured for less than 3 s: batch 1, 2." in (run / "report.md").read_text()


def test_no_batch_size_is_recommended_where_none_keeps_the_bound(
    run_assay: RunAssay, compiled: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = run_assay("benchmark", compiled, *QUICK, "--max-latency-ms", "0.000001", "-o", run)
    assert done.returncode == 0, done.stderr
    (recommended,) = json.loads((run / "benchmark.json").read_text())["recommended"]
    assert recommended["batch_size"] is None
    assert "None of the measured batch sizes keeps 1e-06 ms" in (run / "report.md").read_text()


def test_results_are_imported_without_a_model(run_assay: RunAssay, golden: Path, tmp_path: Path) -> None:
    summary = golden / "ais_bench_newest" / "r_summary.json"
    done = run_assay("benchmark", "--import", f"{summary}@bs4", "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["imported"]
    assert (row["tool"], row["clock"], row["batch_size"]) == ("ais_bench", "device", 4)
    assert "ais_bench (imported)" in (tmp_path / "run" / "report.md").read_text()


def test_a_file_of_no_known_tool_is_refused(run_assay: RunAssay, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    done = run_assay("benchmark", "--import", tmp_path / "other.json", "-o", tmp_path / "run")
    assert done.returncode == 5
    assert "expected trtexec's --exportTimes" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_pipeline_from_encoded_images_is_measured_in_repeats_and_shown_beside_the_calls(
    colour_onnx: Path, se_resnext50: ModelRecord, photographs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "constant"
    folder.mkdir()
    compile_with(ConstantEngine(), colour_onnx, folder, se_resnext50)
    request = BenchmarkRequest(
        images=ImageRequest(path=photographs),
        pipeline=True,
        plans=(RepeatPlan(batch_sizes=(2,), seconds=0.01),),
    )
    result = run_benchmark([folder], request, RunPlace(path=tmp_path / "run"))
    assert result.benchmark is not None
    (row,) = result.benchmark.pipelines
    assert len(row.images_per_second.values) == 5
    assert row.image_count % 2 == 0
    assert not row.is_valid  # measured for a moment
    report = (result.folder / "report.md").read_text().partition("## What a user waits for")[2]
    assert "| constant fp32 | 2 |" in report
    with pytest.raises(UsageError, match="give --images"):
        run_benchmark([folder], BenchmarkRequest(pipeline=True), RunPlace(path=tmp_path / "other"))
