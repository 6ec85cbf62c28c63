"""Multiply-adds of a network: the products that its convolutions and matrices sum up for one image."""

from __future__ import annotations

import math
from pathlib import Path

import openvino

from assay.errors import quote_reason


def count_multiply_adds(model_path: Path, image_shape: tuple[int, int, int] | None) -> int | str:
    """How many multiply-adds one image takes, or why that is not known.

    Counted are convolutions, grouped ones too, and products of matrices, as in the papers that publish such
    numbers; normalisation, activations and pooling are not.

    Args:
        model_path: An ONNX file or the .xml of OpenVINO's IR.
        image_shape: The three axes of an image as the network takes them, where the file leaves them free.
    """
    try:
        model = openvino.Core().read_model(model_path)
        declared = model.inputs[0].get_partial_shape()
        if declared.rank.is_dynamic or declared.is_dynamic:
            sizes = _fill(declared, image_shape)
            if sizes is None:
                return "the file takes images of any size"
            model.reshape(openvino.PartialShape(sizes))
        images = int(model.inputs[0].get_shape()[0])
        return sum(_count(node) for node in model.get_ops()) // max(images, 1)
    except RuntimeError as error:
        return f"OpenVINO cannot work out its shapes: {quote_reason(error)}"


def _fill(declared: openvino.PartialShape, image_shape: tuple[int, int, int] | None) -> list[int] | None:
    """The shape for one image, None where an axis is open."""
    if declared.rank.is_dynamic:
        return None if image_shape is None else [1, *image_shape]
    sizes = [None if size.is_dynamic else size.get_length() for size in declared]
    if len(sizes) != 4:
        return None
    wanted = [1, *(image_shape or (None, None, None))]
    filled = [size or one for size, one in zip(sizes, wanted, strict=True)]
    return None if None in filled else [size for size in filled if size]


def _count(node: openvino.Node) -> int:
    kind = node.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0
    made = math.prod(map(int, node.get_output_shape(0)))
    read = [int(size) for size in node.get_input_shape(1)]
    if kind == "Convolution":  # weights (outputs, inputs, height, width)
        return made * math.prod(read[1:])
    if kind == "GroupConvolution":  # weights (groups, outputs, inputs, height, width)
        return made * math.prod(read[2:])
    first = [int(size) for size in node.get_input_shape(0)]
    is_turned = node.get_attributes().get("transpose_a", False)
    return made * (first[-2] if is_turned and len(first) > 1 else first[-1])
