"""Tiny ONNX classifiers in the forms that exporters give networks: other tensors, types, nodes, shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from assay.models.record import ModelRecord

FLOAT = TensorProto.FLOAT
make_port = helper.make_tensor_value_info


def make_brightness_classifier(
    path: Path,
    *,
    front: Sequence[onnx.NodeProto] = (),
    back: Sequence[onnx.NodeProto] = (),
    constants: Mapping[str, Any] | None = None,
    image: onnx.ValueInfoProto | None = None,
    outputs: Sequence[onnx.ValueInfoProto] = (),
) -> Path:
    """Write a classifier of two classes, opset 17; class 1 is for bright images.

    Args:
        path: The file.
        front: Nodes from the input to the tensor `pixels`; without them the input is that.
        back: Nodes from the tensor `logits` to the outputs.
        constants: Values that those nodes read, by name.
        image: The input; `image`, float32 (batch, 3, 224, 224), if not given.
        outputs: The outputs; `class`, float32 (batch, 2), if not given.
    """
    image = image or make_port("image", FLOAT, ["batch", 3, 224, 224])
    pixels, logits = "pixels" if front else image.name, "logits" if back else "class"
    nodes = [
        *front,
        helper.make_node("GlobalAveragePool", [pixels], ["means"]),
        helper.make_node("Flatten", ["means"], ["colour"]),
        helper.make_node("MatMul", ["colour", "weights"], [logits], name="head"),
        *back,
    ]
    values = {"weights": np.array([[-3, 3]] * 3, np.float32), **(constants or {})}
    graph = helper.make_graph(
        nodes,
        "brightness_classifier",
        [image],
        list(outputs) or [make_port("class", FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def move_weights_out(onnx_path: Path, location: str = "model.onnx.data") -> None:
    """Save an ONNX file again with all its weights in a file beside it, as torch's exporter does."""
    (onnx_path.parent / location).unlink(missing_ok=True)
    (onnx_path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(str(onnx_path))
    onnx.save(model, str(onnx_path), save_as_external_data=True, location=location, size_threshold=0)


RECORD = """
schema_version = 1
name = "brightness"
architecture = "onnx only"

[input]
name = "image"
channels = 3
height = 224
width = 224
colour_order = "RGB"

[preprocessing]
resize_side = 256
resize_filter = "bilinear"
crop_size = 224
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[output]
name = "class"
class_count = 2
"""
"""The model record of such a classifier."""


def make_brightness_record() -> ModelRecord:
    """The same, as it is read."""
    return msgspec.toml.decode(RECORD, type=ModelRecord)
