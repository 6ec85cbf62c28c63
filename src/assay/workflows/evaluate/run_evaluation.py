"""Evaluation of a model that is compiled already, into a run folder of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_labelled_images, store_index
from assay.images.stored_index import INDEX_FILE
from assay.runs.folder import RunResult, open_run_folder
from assay.runs.listener import SILENT, Listener
from assay.runs.place import RunPlace
from assay.workflows.evaluate.evaluate import EvaluateOptions, check_evaluation, evaluate_model
from assay.workflows.results.gates import judge_run
from assay.workflows.results.report import write_report


def run_evaluation(
    compiled_dir: Path,
    images: ImageRequest,
    options: EvaluateOptions,
    place: RunPlace,
    listener: Listener = SILENT,
) -> RunResult:
    """Evaluate a compiled model, judge its gates and write the report.

    Args:
        compiled_dir: The compiled model.
        images: The images, with their labels.
        options: How they are predicted, and which gates that must pass.
        place: Where the run folder is.
        listener: Hears of the steps.

    Raises:
        AssayError: As `index_labelled_images` and `evaluate_model`.
    """
    place.refuse_inputs(compiled_dir, *images.inputs)
    check_evaluation(options)
    compiled = read_compiled_json(compiled_dir)
    classes = read_classes(compiled.model)
    index = index_labelled_images(images, classes, place.index)
    with open_run_folder(place, compiled.model.name, compiled.engine, listener) as run:
        index = store_index(run.path / INDEX_FILE, index, images, classes)
        metrics = evaluate_model(compiled_dir, index, run, dataclasses.replace(options, leaves_finished=True))
        gates = judge_run(run, options.gates, metrics)
    if not run.is_left:
        write_report(run.path, opens_urls=True)
    return RunResult(folder=run.path, manifest=run.manifest, metrics=metrics, gates=gates)
