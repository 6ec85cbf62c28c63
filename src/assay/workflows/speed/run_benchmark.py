"""Benchmark of models that are compiled already, and of results of other tools, into a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.defaults import DEVICE_TIMEOUT_S
from assay.engines.cascade.record import CASCADE, read_cascade_json
from assay.engines.compiled_model import read_compiled_json
from assay.errors import UsageError
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sources import ImageIndex
from assay.measure.gates import Gate
from assay.measure.speed.imported_results import ImportedRow, import_result
from assay.measure.speed.loadgen import LoadgenOptions
from assay.measure.speed.loadgen_logs import LoadgenRow
from assay.measure.speed.repeats import RepeatPlan, check_plan
from assay.models.record import ModelRecord
from assay.runs.folder import RunFolder, RunResult, open_run_folder
from assay.runs.listener import SILENT, Listener
from assay.runs.place import RunPlace
from assay.runs.results_file import Benchmark, write_result
from assay.workflows.devices.choose import choose_devices
from assay.workflows.results.gates import judge_run
from assay.workflows.results.report import write_report
from assay.workflows.speed.benchmark import benchmark_models, choose_samples, fill_batch_sizes
from assay.workflows.speed.loadgen import add_loadgen
from assay.workflows.speed.pipeline import measure_pipelines


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """What is measured of compiled models.

    Args:
        images: The images to measure on; None means drawn ones.
        pipeline: Whether the whole way from encoded images to predictions is measured too.
        plans: What is measured of each model, one plan after the other.
        max_latency_ms: Bound on the 99th percentile; the fastest batch size that keeps it is recommended.
        loadgen: How MLPerf LoadGen is run besides, if it is.
        imports: Files of other tools, each with its batch size where that was given.
        gates: What the speeds must show.
        devices: Several devices to measure on, each alone and all at once, as `choose_devices` reads them;
            empty for the compiled model's own.
        device_timeout_s: How long one of those may take to load the model, or for a batch.
    """

    images: ImageRequest | None = None
    pipeline: bool = False
    plans: tuple[RepeatPlan, ...] = (RepeatPlan(),)
    max_latency_ms: float | None = None
    loadgen: LoadgenOptions | None = None
    imports: tuple[tuple[Path, int | None], ...] = ()
    gates: tuple[Gate, ...] = ()
    devices: str = ""
    device_timeout_s: float = DEVICE_TIMEOUT_S


def run_benchmark(
    compiled_dirs: Sequence[Path],
    request: BenchmarkRequest,
    place: RunPlace,
    listener: Listener = SILENT,
) -> RunResult:
    """Measure compiled models of one model record, read what is imported, and write the report.

    Args:
        compiled_dirs: The models; none where results are imported alone.
        request: What is measured and imported.
        place: Where the run folder is.
        listener: Hears what is done.

    Raises:
        UsageError: LoadGen over several compiled models, or none; a plan or a bound that cannot be; models
            that take other images than the first.
        AssayError: As `index_requested_images`, `benchmark_models` and `import_result`.
    """
    _check_request(request, compiled_dirs)
    inputs = request.images.inputs if request.images else ()
    place.refuse_inputs(*compiled_dirs, *inputs, *dict(request.imports))
    imported = [import_result(path, batch_size) for path, batch_size in request.imports]
    if not compiled_dirs:
        with open_run_folder(place, "imported", "none", listener) as run:
            benchmark = _add_imported(Benchmark(rows=[]), imported, run)
            gates = judge_run(run, request.gates, benchmark=benchmark)
        write_report(run.path)
        return RunResult(folder=run.path, manifest=run.manifest, benchmark=benchmark, gates=gates)
    compiled = read_compiled_json(compiled_dirs[0])
    record = compiled.model
    _check_inputs(compiled_dirs, record)
    index = index_requested_images(request.images, read_classes(record)) if request.images else None
    devices = {
        path: choose_devices(request.devices, path, request.device_timeout_s)
        for path in compiled_dirs
        if request.devices
    }
    samples = choose_samples(compiled_dirs, record, index, listener)
    with open_run_folder(place, record.name, compiled.engine, listener) as run:
        run.record_model(compiled)
        if compiled.engine == CASCADE:
            run.record_cascade(read_cascade_json(compiled_dirs[0]))
        benchmark = benchmark_models(
            compiled_dirs, samples, request.plans, run, request.max_latency_ms, devices
        )
        if request.pipeline and index is not None:
            benchmark = _add_pipelines(benchmark, compiled_dirs, index, request.plans[0], run)
        if request.loadgen is not None:
            benchmark = add_loadgen(compiled_dirs[0], samples, index, request.loadgen, run, benchmark)
        if imported:
            benchmark = _add_imported(benchmark, imported, run)
        gates = judge_run(run, request.gates, benchmark=benchmark)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, benchmark=benchmark, gates=gates)


def _check_request(request: BenchmarkRequest, compiled_dirs: Sequence[Path]) -> None:
    if request.loadgen is not None and len(compiled_dirs) != 1:
        raise UsageError("--loadgen takes one compiled model", hint="run it once for each")
    if request.pipeline and (request.images is None or not compiled_dirs):
        raise UsageError("--pipeline measures from encoded images to predictions", hint="give --images")
    if request.images is not None and not compiled_dirs:
        raise UsageError("--images has no effect without a compiled model", hint="leave it out")
    if request.max_latency_ms is not None and not request.max_latency_ms > 0:
        raise UsageError(f"--max-latency-ms is {request.max_latency_ms:g}; expected more than 0")
    for plan in request.plans:
        check_plan(plan)
    if request.devices:
        _check_devices(request)


def _check_devices(request: BenchmarkRequest) -> None:
    """Refuse what is measured on the compiled model's own device alone."""
    for flag, is_set in (
        ("--loadgen", request.loadgen is not None),
        ("--pipeline", request.pipeline),
        ("--fresh-processes", any(plan.fresh_processes for plan in request.plans)),
    ):
        if is_set:
            raise UsageError(
                f"--devices and {flag} exclude each other",
                hint="assay evaluate --devices says how fast all devices are from encoded images on",
            )


def _check_inputs(compiled_dirs: Sequence[Path], record: ModelRecord) -> None:
    """Refuse models that cannot be measured on the same images."""
    for compiled_dir in compiled_dirs[1:]:
        other = read_compiled_json(compiled_dir).model
        if (other.input, other.preprocessing) != (record.input, record.preprocessing):
            raise UsageError(
                f"{compiled_dir} takes other images than {compiled_dirs[0]}: model records {other.name} and "
                f"{record.name}",
                hint="run assay benchmark once for each",
            )


def _add_pipelines(
    benchmark: Benchmark, compiled_dirs: Sequence[Path], index: ImageIndex, plan: RepeatPlan, run: RunFolder
) -> Benchmark:
    """Return the benchmark with the rows on the `pipeline` clock, and write it."""
    rows = [
        row
        for path in compiled_dirs
        for row in measure_pipelines(path, index, fill_batch_sizes(read_compiled_json(path), plan), run)
    ]
    benchmark = msgspec.structs.replace(benchmark, pipelines=rows)
    write_result(run.path, benchmark)
    return benchmark


def _add_imported(
    benchmark: Benchmark, imported: Sequence[ImportedRow | LoadgenRow], run: RunFolder
) -> Benchmark:
    """Return the benchmark with the imported rows, and write it."""
    loadgen = [row for row in imported if isinstance(row, LoadgenRow)]
    rows = [row for row in imported if isinstance(row, ImportedRow)]
    benchmark = msgspec.structs.replace(benchmark, imported=rows, loadgen=[*benchmark.loadgen, *loadgen])
    write_result(run.path, benchmark)
    return benchmark
