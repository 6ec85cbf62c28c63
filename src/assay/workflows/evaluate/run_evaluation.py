"""Evaluation and benchmark of models that are compiled already, each into a run folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.engines.compiled_model import read_compiled_json
from assay.errors import UsageError
from assay.images.label_files import NO_LABEL_FILE, LabelOptions
from assay.images.sample_images import load_sample_images
from assay.images.sources import index_images, require_labels
from assay.images.subset import limit_images
from assay.measure.gates import Gate
from assay.measure.speed.imported_results import ImportedRow, import_result
from assay.measure.speed.loadgen import LoadgenOptions
from assay.measure.speed.loadgen_logs import LoadgenRow
from assay.runs.folder import RunFolder, RunPlace, RunResult, open_run_folder
from assay.runs.listener import Listener
from assay.runs.results_file import Benchmark, write_result
from assay.workflows.evaluate.early_stop import check_stop
from assay.workflows.evaluate.evaluate import EvaluateOptions, evaluate_model
from assay.workflows.full_run import BENCHMARK_IMAGE_COUNT
from assay.workflows.results.gates import judge_run
from assay.workflows.results.report import write_report
from assay.workflows.speed.benchmark import DEFAULT_REQUEST, SpeedRequest, benchmark_models
from assay.workflows.speed.loadgen import add_loadgen


def run_evaluation(
    compiled_dir: Path,
    images: Path,
    labels: LabelOptions,
    options: EvaluateOptions,
    place: RunPlace,
    listener: Listener,
) -> RunResult:
    """Evaluate a compiled model and write the report.

    Raises:
        AssayError: As `index_images` and `evaluate_model`.
    """
    place.refuse_inputs(compiled_dir, images, labels.path)
    check_stop(options.gates, options.stop_error)
    compiled = read_compiled_json(compiled_dir)
    index = index_images(images, compiled.model.label_count, labels, options.reading)
    index = limit_images(index, options.limit)
    require_labels(index, images, compiled.model.label_count)
    with open_run_folder(place, compiled.model.name, compiled.engine, listener) as run:
        metrics = evaluate_model(compiled_dir, index, images, run, options)
        gates = judge_run(run, options.gates, metrics)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, metrics=metrics, gates=gates)


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """What is measured of compiled models.

    Args:
        images: What they are measured on; None means drawn images.
        labels: Their label file, if there is one.
        speed: Batch sizes, repeats, callers.
        loadgen: How MLPerf LoadGen is run besides, if it is.
        imports: Files of other tools, each with its batch size where that was given.
        gates: What the speeds must show.
    """

    images: Path | None = None
    labels: LabelOptions = NO_LABEL_FILE
    speed: SpeedRequest = DEFAULT_REQUEST
    loadgen: LoadgenOptions | None = None
    imports: tuple[tuple[Path, int | None], ...] = ()
    gates: tuple[Gate, ...] = ()


def run_benchmark(
    compiled_dirs: Sequence[Path],
    request: BenchmarkRequest,
    place: RunPlace,
    listener: Listener,
) -> RunResult:
    """Measure compiled models of one model record, read what is imported, and write the report.

    Args:
        compiled_dirs: None where results are imported alone.
        request: What is measured and imported.
        place: Where the run folder is.
        listener: Hears what is done.

    Raises:
        UsageError: LoadGen over several compiled models, or none.
        AssayError: As `index_images`, `benchmark_models` and `import_result`.
    """
    if request.loadgen is not None and len(compiled_dirs) != 1:
        raise UsageError("--loadgen takes one compiled model", hint="run it once for each")
    place.refuse_inputs(*compiled_dirs, request.images, request.labels.path, *dict(request.imports))
    imported = [import_result(path, batch_size) for path, batch_size in request.imports]
    if not compiled_dirs:
        with open_run_folder(place, "imported", "none", listener) as run:
            benchmark = _add_imported(Benchmark(rows=[]), imported, run)
            gates = judge_run(run, request.gates, benchmark=benchmark)
        write_report(run.path)
        return RunResult(folder=run.path, manifest=run.manifest, benchmark=benchmark, gates=gates)
    compiled = read_compiled_json(compiled_dirs[0])
    record = compiled.model
    index = None
    if request.images:
        index = index_images(request.images, record.label_count, request.labels)
    samples = load_sample_images(record, index, BENCHMARK_IMAGE_COUNT, listener.announce)
    with open_run_folder(place, record.name, compiled.engine, listener) as run:
        run.record_model(compiled)
        benchmark = benchmark_models(compiled_dirs, samples, request.speed, run)
        if request.loadgen is not None:
            benchmark = add_loadgen(compiled_dirs[0], samples, index, request.loadgen, run, benchmark)
        if imported:
            benchmark = _add_imported(benchmark, imported, run)
        gates = judge_run(run, request.gates, benchmark=benchmark)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, benchmark=benchmark, gates=gates)


def _add_imported(
    benchmark: Benchmark, imported: Sequence[ImportedRow | LoadgenRow], run: RunFolder
) -> Benchmark:
    """Return the benchmark with the imported rows, and write it."""
    loadgen = [row for row in imported if isinstance(row, LoadgenRow)]
    rows = [row for row in imported if isinstance(row, ImportedRow)]
    benchmark = msgspec.structs.replace(benchmark, imported=rows, loadgen=[*benchmark.loadgen, *loadgen])
    write_result(run.path, benchmark)
    return benchmark
