"""Evaluation and benchmark of models that are compiled already, each into a run folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.images.label_files import LabelOptions
from assay.images.sources import index_images, require_labels
from assay.workflows.benchmark import benchmark_models
from assay.workflows.evaluate import EvaluateOptions, evaluate_model
from assay.workflows.full_run import BENCHMARK_IMAGE_COUNT
from assay.workflows.listener import Listener
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
    require_labels(index, images, compiled.model.label_count)
    with open_run_folder(place, compiled.model.name, compiled.engine, listener) as run:
        metrics = evaluate_model(compiled_dir, index, images, run, options)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, metrics=metrics)


def benchmark_alone(
    compiled_dirs: Sequence[Path],
    images: Path | None,
    batch_sizes: tuple[int, ...] | None,
    repeats: int,
    place: RunPlace,
    listener: Listener,
) -> RunResult:
    """Measure compiled models of one model record and write the report.

    Raises:
        AssayError: As `index_images` and `benchmark_models`.
    """
    compiled = read_compiled_json(compiled_dirs[0])
    record = compiled.model
    index = index_images(images, record.label_count) if images else None
    samples = load_sample_images(record, index, BENCHMARK_IMAGE_COUNT)
    with open_run_folder(place, record.name, compiled.engine, listener) as run:
        run.describe_model(compiled)
        benchmark = benchmark_models(compiled_dirs, samples, batch_sizes, run, repeats=repeats)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, benchmark=benchmark)
