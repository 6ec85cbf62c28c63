"""Evaluation and benchmark of models that are compiled already, each into a run folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.errors import UsageError
from assay.images.label_files import NO_LABEL_FILE, LabelOptions
from assay.images.sources import index_images, require_labels
from assay.images.subset import limit_images
from assay.measure.loadgen import LoadgenOptions
from assay.measure.throughput import MIN_REPEATS
from assay.workflows.benchmark import benchmark_models
from assay.workflows.evaluate import EvaluateOptions, evaluate_model
from assay.workflows.full_run import BENCHMARK_IMAGE_COUNT
from assay.workflows.listener import Listener
from assay.workflows.loadgen import add_loadgen
from assay.workflows.report import write_report
from assay.workflows.run_folder import RunPlace, RunResult, open_run_folder
from assay.workflows.sample_images import load_sample_images


def evaluate_alone(
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
    compiled = read_compiled_json(compiled_dir)
    index = index_images(images, compiled.model.label_count, labels, options.reading)
    index = limit_images(index, options.limit)
    require_labels(index, images, compiled.model.label_count)
    with open_run_folder(place, compiled.model.name, compiled.engine, listener) as run:
        metrics = evaluate_model(compiled_dir, index, images, run, options)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, metrics=metrics)


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """What is measured of compiled models.

    Args:
        images: What they are measured on; None means drawn images.
        labels: Their label file, if there is one.
        batch_sizes: None means the one a model was compiled for, else the usual ones.
        repeats: How often each batch size is measured, at least 5.
        loadgen: How MLPerf LoadGen is run besides, if it is.
    """

    images: Path | None = None
    labels: LabelOptions = NO_LABEL_FILE
    batch_sizes: tuple[int, ...] | None = None
    repeats: int = MIN_REPEATS
    loadgen: LoadgenOptions | None = None


def benchmark_alone(
    compiled_dirs: Sequence[Path],
    request: BenchmarkRequest,
    place: RunPlace,
    listener: Listener,
) -> RunResult:
    """Measure compiled models of one model record and write the report.

    Raises:
        UsageError: LoadGen over several compiled models.
        AssayError: As `index_images` and `benchmark_models`.
    """
    if request.loadgen is not None and len(compiled_dirs) != 1:
        raise UsageError("--loadgen takes one compiled model", hint="run it once for each")
    compiled = read_compiled_json(compiled_dirs[0])
    record = compiled.model
    index = None
    if request.images:
        index = index_images(request.images, record.label_count, request.labels)
    samples = load_sample_images(record, index, BENCHMARK_IMAGE_COUNT)
    with open_run_folder(place, record.name, compiled.engine, listener) as run:
        run.describe_model(compiled)
        benchmark = benchmark_models(
            compiled_dirs, samples, request.batch_sizes, run, repeats=request.repeats
        )
        if request.loadgen is not None:
            benchmark = add_loadgen(compiled_dirs[0], samples, index, request.loadgen, run, benchmark)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, benchmark=benchmark)
