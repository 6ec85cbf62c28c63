"""The whole chain: checkpoint, ONNX file, compiled model, predictions, speed, report. Read this first."""

from __future__ import annotations

from assay.images.sample_images import load_sample_images
from assay.images.sources import index_images, require_labels
from assay.images.subset import limit_images
from assay.models.choose_record import choose_record
from assay.runs.folder import RunPlace, RunResult, open_run_folder
from assay.runs.listener import SILENT, Listener
from assay.workflows.evaluate.early_stop import check_stop
from assay.workflows.evaluate.evaluate import EvaluateOptions, evaluate_model
from assay.workflows.make_models import FullRun, check_request, make_models
from assay.workflows.results.gates import judge_run
from assay.workflows.results.report import write_report
from assay.workflows.speed.benchmark import benchmark_models

BENCHMARK_IMAGE_COUNT = 16


def run_all(request: FullRun, place: RunPlace, listener: Listener = SILENT) -> RunResult:
    """Carry out the whole chain into one run folder and return what it found.

    Raises:
        AssayError: Anything a user can cause; what was done until then is kept in the run folder.
    """
    place.refuse_inputs(request.weights, request.images, request.labels.path, request.calibration.images)
    record = choose_record(request.model, request.weights)
    check_request(request, record)
    check_stop(request.gates, request.stop_error)
    index = index_images(request.images, record.label_count, request.labels, request.reading)
    index = limit_images(index, request.limit)
    require_labels(index, request.images, record.label_count)
    with open_run_folder(place, record.name, request.compile.engine, listener) as run:
        run.record_remark(request.remark)
        models = make_models(request, record, index, run)
        options = EvaluateOptions(
            shard_size=request.shard_size,
            keep_logits=request.keep_logits,
            reading=request.reading,
            gates=request.gates,
            stop_error=request.stop_error,
        )
        metrics = evaluate_model(models.evaluated, index, request.images, run, options, models.reference)
        samples = load_sample_images(record, index, BENCHMARK_IMAGE_COUNT, run.announce, request.reading)
        benchmark = benchmark_models(models.measured, samples, models.speed, run)
        gates = judge_run(run, request.gates, metrics, benchmark)
    write_report(run.path)
    return RunResult(
        folder=run.path, manifest=run.manifest, metrics=metrics, benchmark=benchmark, gates=gates
    )
