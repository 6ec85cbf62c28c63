"""A compiled model under MLPerf LoadGen: its scenarios, and its accuracy where the images have labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from assay.arrays import Images
from assay.engines.arrays import as_session_input, describe_row
from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import Session
from assay.files import escape_name
from assay.images.prepare import preprocess_into
from assay.images.preprocessed_image import OK
from assay.images.read import Patience
from assay.images.sources import ImageIndex
from assay.inference.predictions import NO_LABEL, NON_FINITE, Prediction
from assay.measure.accuracy.accuracy import Accuracy, measure_accuracy
from assay.measure.speed.loadgen import LoadedImages, LoadgenOptions, answer_every_image, run_scenarios
from assay.models.record import ModelRecord
from assay.processors import count_processors
from assay.runs.folder import RunFolder
from assay.runs.results_file import Benchmark, write_result

LOADGEN_FOLDER = "loadgen"


def add_loadgen(
    compiled_dir: Path,
    samples: Images,
    labelled: ImageIndex | None,
    options: LoadgenOptions,
    run: RunFolder,
    benchmark: Benchmark,
) -> Benchmark:
    """Run LoadGen over a compiled model, and write and return the benchmark with what it found.

    Args:
        compiled_dir: The compiled model.
        samples: What the performance runs draw from, float32 (N, 3, H, W).
        labelled: What AccuracyOnly is run on; it is left out where nothing has a label.
        options: Time, latency bound.
        run: The run folder; LoadGen's own files go into `loadgen/`.
        benchmark: What was measured without LoadGen.

    Raises:
        MissingRuntimeError: LoadGen is not installed.
        EngineError: The session failed, or gave no answer for too long.
    """
    compiled = read_compiled_json(compiled_dir)
    size = compiled.call_size or compiled.batch_size or options.batch_size
    options = dataclasses.replace(options, batch_size=size)
    folder = run.path / LOADGEN_FOLDER
    with closing(load_for_evaluation(compiled_dir)) as session:
        batch = as_session_input(samples, session, compiled.model)
        rows = run_scenarios(session, batch, options, folder, run.announce)
        benchmark = msgspec.structs.replace(benchmark, loadgen=rows)
        write_result(run.path, benchmark)
        if labelled is not None and any(image.label is not None for image in labelled.images):
            run.announce(f"LoadGen: AccuracyOnly over {len(labelled.images):,} images")
            accuracy = measure_logged_accuracy(session, labelled, compiled.model, options, folder)
            benchmark = msgspec.structs.replace(benchmark, loadgen_accuracy=accuracy)
            write_result(run.path, benchmark)
    return benchmark


def measure_logged_accuracy(
    session: Session, index: ImageIndex, record: ModelRecord, options: LoadgenOptions, folder: Path
) -> Accuracy:
    """Run AccuracyOnly, and score LoadGen's log of answers as an evaluation scores its predictions.

    Args:
        session: What is asked.
        index: The images and their labels.
        record: How they are preprocessed.
        options: Batch size, watchdog.
        folder: Where LoadGen's files go, into `AccuracyOnly/`.

    Raises:
        EngineError: The session failed, or gave no answer for too long.
        SourceError: The place that holds an image failed.
    """
    statuses: dict[int, str] = {}
    dtype, row_shape = describe_row(record, takes_pixels=session.description.takes_pixels)
    with ThreadPoolExecutor(count_processors(), "decode") as decoders, Patience() as patience:
        decode = partial(preprocess_into, record=record, options=index.reading, patience=patience)

        def load(indices: Sequence[int]) -> LoadedImages:
            rows = np.empty((len(indices), *row_shape), dtype=dtype)
            decoding = [
                decoders.submit(decode, index.images[number], out=row)
                for number, row in zip(indices, rows, strict=True)
            ]
            found = [image.result() for image in decoding]
            statuses.update({number: image.status for number, image in zip(indices, found, strict=True)})
            return rows, {number: row for row, number in enumerate(indices) if statuses[number] == OK}

        answers = answer_every_image(session, len(index.images), load, options, folder / "AccuracyOnly")
    predictions = [
        _make_prediction(index, number, statuses[number], answers.get(number))
        for number in range(len(index.images))
    ]
    return measure_accuracy(predictions, record.output.label_offset, class_count=record.label_count)


def _make_prediction(
    index: ImageIndex, number: int, status: str, classes: tuple[int, ...] | None
) -> Prediction:
    image = index.images[number]
    if status == OK and classes is None:
        status = NON_FINITE
    elif status == OK and image.label is None:
        status = NO_LABEL
    return Prediction(
        name=escape_name(image.name),
        relative_path=escape_name(image.relative_path),
        label=image.label,
        status=status,
        top_classes=classes or (),
    )
