"""A compiled model under MLPerf LoadGen: its scenarios, and its accuracy where the images have labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from assay.arrays import Images
from assay.engines.base import Session, suit_session
from assay.engines.catalog import load_for_pictures
from assay.engines.compiled_model import read_compiled_json
from assay.files import escape_name
from assay.images.batches import OK, PreprocessedImage, preprocess_image, stack_images
from assay.images.listing import ReadOptions
from assay.images.sources import ImageIndex
from assay.inference.predictions import NO_LABEL, NON_FINITE, Prediction
from assay.measure.accuracy import Accuracy, measure_accuracy
from assay.measure.loadgen import LoadedImages, LoadgenOptions, answer_every_image, run_scenarios
from assay.models.record import ModelRecord
from assay.processors import count_processors
from assay.report.results_file import Benchmark, write_result
from assay.workflows.run_folder import RunFolder

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
    options = LoadgenOptions(
        seconds=options.seconds,
        batch_size=size,
        server_latency_ms=options.server_latency_ms,
        silence_s=options.silence_s,
    )
    folder = run.path / LOADGEN_FOLDER
    session = load_for_pictures(compiled_dir)
    try:
        batch = suit_session(samples, session, compiled.model)
        rows = run_scenarios(session, batch, options, folder, run.announce)
        benchmark = msgspec.structs.replace(benchmark, loadgen=rows)
        write_result(run.path, benchmark)
        if labelled is not None and any(image.label is not None for image in labelled.images):
            run.announce(f"LoadGen: AccuracyOnly over {len(labelled.images):,} images")
            accuracy = measure_logged_accuracy(session, labelled, compiled.model, options, folder)
            benchmark = msgspec.structs.replace(benchmark, loadgen_accuracy=accuracy)
            write_result(run.path, benchmark)
    finally:
        session.close()
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
    """
    statuses: dict[int, str] = {}
    preprocess = partial(preprocess_image, record=record, options=ReadOptions())
    with ThreadPoolExecutor(count_processors(), "decode") as decoders:

        def load(indices: Sequence[int]) -> LoadedImages:
            found = list(decoders.map(preprocess, [index.images[number] for number in indices]))
            images, rows = _stack(found, indices, statuses, record)
            return suit_session(images, session, record), rows

        answers = answer_every_image(session, len(index.images), load, options, folder / "AccuracyOnly")
    predictions = [
        _make_prediction(index, number, statuses[number], answers.get(number))
        for number in range(len(index.images))
    ]
    return measure_accuracy(predictions, record.output.label_offset)


def _stack(
    found: Sequence[PreprocessedImage], indices: Sequence[int], statuses: dict[int, str], record: ModelRecord
) -> tuple[Images, dict[int, int]]:
    statuses |= {number: row.status for number, row in zip(indices, found, strict=True)}
    decoded = [number for number, row in zip(indices, found, strict=True) if row.image is not None]
    if not decoded:
        shape = (0, record.input.channels, record.input.height, record.input.width)
        return np.empty(shape, dtype=np.float32), {}
    return stack_images(found), {number: row for row, number in enumerate(decoded)}


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
