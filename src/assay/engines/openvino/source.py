"""An ONNX file as OpenVINO's model, in the shape that it is compiled for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from openvino import frontend

from assay.engines.engine import CompileOptions
from assay.errors import BadModelError, FixedBatchError, quote, quote_reason
from assay.models.check_network import fits_logits
from assay.models.model_file import is_openvino_ir, list_model_weights, read_model_file
from assay.models.network_input import order_axes
from assay.models.record import InputTensor, ModelRecord

_FAILURES = (
    frontend.GeneralFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)


def read_onnx(onnx_path: Path, record: ModelRecord) -> openvino.Model:
    """The model of an ONNX file or an IR, with the record's output alone.

    Raises:
        BadModelError: It cannot be read.
    """
    try:
        has_axes = read_model_file(onnx_path).inputs[0].shape is not None
        model = openvino.Core().read_model(onnx_path) if has_axes else _read_shaped(onnx_path, record.input)
        output = model.output(record.output.name).get_node()
    except (RuntimeError, *_FAILURES) as error:
        is_linked = any(path.is_symlink() for path in list_model_weights(onnx_path).values())
        raise BadModelError(
            f"OpenVINO cannot read {onnx_path}: {quote_reason(error)}",
            hint="copy the model and its weights into a folder of their own: it follows no links to weights"
            if is_linked
            else "expected a file written by `assay export` or another ONNX exporter",
        ) from error
    for result in model.get_results():
        if result != output:
            model.remove_result(result)
    if is_openvino_ir(onnx_path):
        _widen_weights(model)
    return model


def name_nodes(model: openvino.Model) -> None:
    """Give nodes without a name one by their place, so that a model has the same file wherever it is written.

    OpenVINO itself counts all nodes that a process has made.
    """
    nodes = model.get_ordered_ops()
    taken = {node.get_friendly_name() for node in nodes}
    for place, node in enumerate(nodes):
        if node.get_friendly_name() == node.get_name():
            name = f"{node.get_type_name()}_{place}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.set_friendly_name(name)


def _widen_weights(model: openvino.Model) -> None:
    """Make float32 of the weights that an IR keeps as float16: else the CPU computes in float16 too."""
    for node in model.get_ops():
        if node.get_type_name() != "Convert" or node.get_output_element_type(0) != openvino.Type.f32:
            continue
        constant = node.input_value(0).get_node()
        if (
            constant.get_type_name() == "Constant"
            and constant.get_output_element_type(0) == openvino.Type.f16
        ):
            wide = openvino.op.Constant(constant.data.astype(np.float32))
            node.output(0).replace(wide.output(0))


def _read_shaped(onnx_path: Path, tensor: InputTensor) -> openvino.Model:
    """The model of a file that does not say how many axes its input has: OpenVINO must be told first."""
    reader = frontend.FrontEndManager().load_by_framework("onnx")
    graph = reader.load(str(onnx_path))
    place = graph.get_place_by_tensor_name(tensor.name)
    graph.set_partial_shape(place, openvino.PartialShape([-1, *order_axes(tensor)]))
    return reader.convert(graph)


def set_shape(
    model: openvino.Model, onnx_path: Path, options: CompileOptions, declared: int | None
) -> int | None:
    """Give the model the shape it is compiled for; returns its batch size, None for any.

    Args:
        model: The model; its shape is changed.
        onnx_path: Its file, for messages.
        options: The record's image, and the batch size that was asked for.
        declared: The batch size that the file declares, if it declares one: the model gets that where it
            cannot run any size and none was asked for.

    Raises:
        FixedBatchError: It runs batches of another size only.
        BadModelError: It cannot take such images, or gives no row of logits for each.
    """
    tensor, wanted = options.record.input, options.batch_size
    try:
        own = _set_batch(model, tensor, None)
        _check_output(model, onnx_path, options.record)
    except RuntimeError:  # its inner shapes do not fit together for just any size
        own = wanted or declared or 1
    if own is None:
        own = wanted
    elif own != (declared if wanted is None else wanted):
        raise FixedBatchError(onnx_path, own)
    try:
        _set_batch(model, tensor, own)
    except RuntimeError as error:
        raise BadModelError(
            f"{onnx_path}: OpenVINO cannot give it batches of {own}: {quote_reason(error)}",
            hint="export it with a dynamic batch, or compile with the --batch-size it was exported for",
        ) from error
    _check_output(model, onnx_path, options.record)
    return own


def _set_batch(model: openvino.Model, tensor: InputTensor, batch_size: int | None) -> int | None:
    """Set the model's batch size, None for any; returns how many rows of logits it then gives.

    Raises:
        RuntimeError: The model's inner shapes do not fit together for that.
    """
    batch = -1 if batch_size is None else batch_size
    model.reshape({tensor.name: openvino.PartialShape([batch, *order_axes(tensor)])})
    shape = model.outputs[0].get_partial_shape()
    sizes = () if shape.rank.is_dynamic else _list_sizes(shape)
    return sizes[0] if sizes else None


def _list_sizes(shape: openvino.PartialShape) -> tuple[int | None, ...]:
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)


def _check_output(model: openvino.Model, onnx_path: Path, record: ModelRecord) -> None:
    shape = model.outputs[0].get_partial_shape()
    if shape.rank.is_static and not fits_logits(_list_sizes(shape), record.output.class_count):
        raise BadModelError(
            f"{onnx_path}: output {quote(record.output.name)} has shape {shape}, expected [batch, "
            f"{record.output.class_count}]",
            hint="set output.class_count of the model record to what the network has",
        )


def reshape(model: openvino.Model, batch_size: int | None) -> None:
    """Give the model another batch size; None means any."""
    shape = model.inputs[0].get_partial_shape()
    shape[0] = -1 if batch_size is None else batch_size
    model.reshape(shape)
