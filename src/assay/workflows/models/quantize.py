"""Float ONNX file and calibration images to an int8 ONNX file, with a record of how it was made beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from assay.convert.parity import MAX_LOGIT_DIFFERENCE, measure_logit_parity
from assay.convert.quantize import (
    OLDEST_OPSET,
    TOOL,
    Quantisation,
    list_products_of_activations,
    match_layers,
    quantize_onnx,
    read_float_onnx,
    read_onnx,
)
from assay.engines.sources import check_quantisation
from assay.errors import BadModelError, FixedBatchError, UsageError
from assay.files import encode_json, escape_name, refuse_same_file, write_in_place_of
from assay.images.calibration import (
    AccuracyControl,
    CalibrationOptions,
    CalibrationSample,
    load_calibration_sample,
)
from assay.images.classes import read_classes
from assay.images.prepare import count_images, name_failures
from assay.images.request import index_labelled_images, index_requested_images
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex
from assay.models.calibration import (
    CalibrationRecord,
    name_calibration_file,
    read_calibration,
    read_calibration_file,
)
from assay.models.check_network import check_network
from assay.models.choose_record import read_stored_record, store_record
from assay.models.model_file import is_openvino_ir
from assay.models.onnx_file import hash_onnx, list_weight_files, read_onnx_file
from assay.models.record import ModelRecord
from assay.runs.listener import Listener, Progress, announce_wait
from assay.workflows.models.accuracy_control import ControlledModel, ControlRequest, control_accuracy
from assay.workflows.models.draft import open_draft

CONVERSION_IMAGE_COUNT = 4


def quantize_file(
    onnx_path: Path,
    out_path: Path,
    record: ModelRecord,
    options: CalibrationOptions,
    listener: Listener,
) -> CalibrationRecord:
    """Write the int8 ONNX file and its calibration record, and return the record.

    A file that was made of the same, on the same images, is kept as it is.

    Args:
        onnx_path: A float ONNX file.
        out_path: The file to write; the record has its name, ending in `.json`.
        record: The model record.
        options: Which images, and how.
        listener: Hears of the steps.

    Raises:
        BadModelError: The ONNX file cannot be used, is quantised already, or has an opset below 13 and gives
            other logits when it is converted.
        BadImagesError: Not one image can be decoded, or there is none.
        SourceError: The place that holds the images failed.
        UsageError: A layer to keep in float that is not there, no images given, or an output that would
            replace something else.
        EngineError: NNCF failed.
    """
    _check_paths(onnx_path, out_path)
    _check_source(onnx_path, record)
    if options.images is None:
        raise UsageError("no images to calibrate on", hint="give them with --calibration")
    index = index_requested_images(options.images, read_classes(record))
    model = read_float_onnx(onnx_path)
    layers = _choose_float_layers(model, options)
    sample = _load_sample(index, record, options, listener)
    planned = CalibrationRecord(
        source_sha256=hash_onnx(onnx_path),
        sha256="",
        tool=TOOL,
        preset=options.preset,
        weight_range=options.weight_range,
        seed=options.seed,
        float_layers=layers,
        images=sample.described,
        unusable=tuple(f"{escape_name(row.source.relative_path)}: {row.status}" for row in sample.failed),
    )
    if (there := find_same(out_path, planned, record)) is not None:
        listener.announce(f"{out_path}: quantised of the same already; used again")
        return there
    _check_conversion(onnx_path, model, record, listener)
    count = len(sample.images)
    listener.announce(
        f"Quantising {onnx_path} on {count} images by {TOOL}, preset {options.preset}, weights in "
        f"{options.weight_range} range"
    )
    with announce_wait(listener, f"quantising {onnx_path}"), write_in_place_of(out_path) as temporary:
        quantize_onnx(
            model,
            temporary,
            sample.images,
            record=record,
            quantisation=Quantisation(
                preset=options.preset, weight_range=options.weight_range, float_layers=layers
            ),
        )
        store_record(temporary, record)
    return write_calibration(out_path, planned)


def _choose_float_layers(model: Any, options: CalibrationOptions) -> tuple[str, ...]:
    """The names of the layers that stay in float, in the graph's order: those asked for, and those that clip.

    Products of activations with activations fill the full range, whatever becomes of the weights.

    Raises:
        UsageError: A pattern that matches nothing.
    """
    clipping = list_products_of_activations(model) if options.weight_range == "half" else []
    chosen = {*match_layers(model, options.keep_float), *clipping}
    return tuple(node.name for node in model.graph.node if node.name in chosen)


def _check_paths(onnx_path: Path, out_path: Path) -> None:
    """Refuse outputs that would replace the float model, or a file that is something else.

    Raises:
        UsageError: That.
        BadModelError: The float model is no ONNX file.
    """
    if is_openvino_ir(onnx_path):
        raise BadModelError(
            f"{onnx_path} is an OpenVINO IR, which assay does not quantise",
            hint="quantise the ONNX file that it was converted from, or give an IR that is quantised already",
        )
    if out_path.suffix.lower() != ".onnx":
        raise UsageError(f"{out_path}: expected a name ending in .onnx for the int8 model")
    record_path = name_calibration_file(out_path)
    for output in (out_path, record_path):
        refuse_same_file(output, onnx_path, *list_weight_files(onnx_path).values())
    if record_path.exists() and read_calibration_file(record_path) is None:
        raise UsageError(
            f"{record_path} is there and is no calibration record; that of {out_path} would replace it",
            hint="give the int8 model another name",
        )


def _check_source(onnx_path: Path, record: ModelRecord) -> None:
    """Refuse a file that is not what the record says, is quantised, or runs no single images.

    Raises:
        BadModelError: That; as FixedBatchError, it declares larger batches.
    """
    shape = check_network(onnx_path, record).inputs[0].shape
    check_quantisation(onnx_path, "fp32")
    if shape and shape[0] not in (None, 1):
        raise FixedBatchError(onnx_path, shape[0])


def _check_conversion(onnx_path: Path, model: Any, record: ModelRecord, listener: Listener) -> None:
    """Refuse a model that had to be converted to a newer opset and gives other logits than the file.

    Raises:
        BadModelError: A logit of a drawn image differs by more than 1e-3.
    """
    opset = read_onnx_file(onnx_path).opset
    if opset >= OLDEST_OPSET:
        return
    images = load_sample_images(record, None, CONVERSION_IMAGE_COUNT, listener.announce)
    with open_draft(read_onnx(onnx_path), record, "fp32") as session:
        expected = np.concatenate([session.run(image[np.newaxis]) for image in images])  # (N, classes)
    with open_draft(model, record, "fp32") as session:
        found = np.concatenate([session.run(image[np.newaxis]) for image in images])  # (N, classes)
    parity = measure_logit_parity(expected, found)
    unit = 1 if record.output.scores == "logits" else float(expected.max())  # probabilities are small
    if not parity.max_difference <= MAX_LOGIT_DIFFERENCE * unit:  # also true for NaN
        raise BadModelError(
            f"{onnx_path} has opset {opset}; converted to {OLDEST_OPSET}, which quantisation needs, its "
            f"logits differ by up to {parity.max_difference:.3g}",
            hint="export it again with --opset 17",
        )
    listener.announce(
        f"{onnx_path} has opset {opset}; quantised from opset {OLDEST_OPSET}, whose logits differ by at most "
        f"{parity.max_difference:.2g}"
    )


def find_same(out_path: Path, planned: CalibrationRecord, record: ModelRecord) -> CalibrationRecord | None:
    """The record of what is at `out_path` already, if that was made as planned, by the same model record."""
    if not out_path.is_file():
        return None
    there = read_calibration(out_path, hash_onnx(out_path))
    if there is None or msgspec.structs.replace(there, sha256="") != planned:
        return None
    return there if read_stored_record(out_path) == record else None


def write_calibration(out_path: Path, planned: CalibrationRecord) -> CalibrationRecord:
    """Write the calibration record of the file that is at `out_path` now, and return it."""
    made = msgspec.structs.replace(planned, sha256=hash_onnx(out_path))
    with write_in_place_of(name_calibration_file(out_path)) as temporary:
        temporary.write_bytes(encode_json(made))
    return made


def _load_sample(
    index: ImageIndex, record: ModelRecord, options: CalibrationOptions, listener: Listener
) -> CalibrationSample:
    """Load the images to calibrate on, and say which of those that were chosen could not be used."""
    wanted = min(options.image_count, len(index.images))

    def report(done: int) -> None:
        listener.advance(Progress(task="Reading", unit="images", done=done, total=wanted))

    sample = load_calibration_sample(index, record, options, report)
    if sample.failed:
        named = name_failures(sample.failed)
        count = len(sample.images)
        found = "others are taken" if count == wanted else f"{count:,} of {wanted:,} are left"
        listener.announce(
            f"Note: {count_images(len(sample.failed))} cannot be calibrated on, {found}: {named}"
        )
    return sample


def quantize_within(
    onnx_path: Path,
    out_path: Path,
    options: CalibrationOptions,
    control: AccuracyControl,
    record: ModelRecord,
    listener: Listener,
) -> tuple[CalibrationRecord, ControlledModel]:
    """Write the int8 file with the fewest layers in float that loses no more than allowed, and its record.

    Beside `out_path` stay the model with all layers in int8 (`.full.onnx`) and the trials (`.trials.json`):
    the search goes on from them.

    Raises:
        AssayError: As `quantize_file`, `control_accuracy`, and `index_labelled_images`.
    """
    _check_paths(onnx_path, out_path)
    index = index_labelled_images(control.images, read_classes(record))
    full_path = out_path.with_suffix(".full.onnx")
    full = quantize_file(onnx_path, full_path, record, options, listener)
    request = ControlRequest(
        source=onnx_path,
        quantized=full_path,
        out_path=out_path,
        record=record,
        index=index,
        max_drop=control.max_drop,
    )
    controlled = control_accuracy(request, listener)
    kept = (*full.float_layers, *controlled.float_layers)
    return write_calibration(out_path, msgspec.structs.replace(full, float_layers=kept)), controlled
