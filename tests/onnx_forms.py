"""Small ONNX classifiers in the forms of the exporters, for what `assay inspect` reads of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64
make_node, make_port = helper.make_node, helper.make_tensor_value_info
Shape = Sequence[int | str | None] | None
CHANNELS_LAST = ["batch", 224, 224, 3]


@dataclass(frozen=True, kw_only=True)
class OnnxForm:
    """How a small classifier is written.

    `front` leads from `x` to `seen`, then come Conv, pooling and Gemm; `back` goes on from `logits`. Where
    one of them is empty the network begins with `x`, or ends with `logits`.
    """

    front: Sequence[onnx.NodeProto] = ()
    back: Sequence[onnx.NodeProto] = ()
    shape: Shape = ("batch", 3, 224, 224)
    dtype: int = FLOAT
    outputs: Mapping[str, tuple[int, Shape]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    class_count: int = 1000
    channels: int = 3
    metadata: Mapping[str, str] = field(default_factory=dict)
    opset: int = 17
    ir_version: int = 8
    producer: tuple[str, str] = ("", "")


def write_classifier(path: Path, **form: Any) -> Path:
    """Write a classifier of that `OnnxForm`."""
    made = OnnxForm(**form)
    nodes = [
        *made.front,
        make_node("Conv", ["seen" if made.front else "x", "conv.weight", "conv.bias"], ["c"]),
        make_node("GlobalAveragePool", ["c"], ["pooled"]),
        make_node("Flatten", ["pooled"], ["flat"]),
        make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], transB=1),
        *made.back,
    ]
    values: dict[str, Any] = {
        "conv.weight": np.ones((8, made.channels, 3, 3), np.float32),
        "conv.bias": np.ones(8, np.float32),
        "fc.weight": np.ones((made.class_count, 8), np.float32),
        "fc.bias": np.ones(made.class_count, np.float32),
        **made.constants,
    }
    ports = made.outputs or {"logits": (FLOAT, ["batch", made.class_count])}
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [make_port("x", made.dtype, made.shape)],
        [make_port(name, kind, axes) for name, (kind, axes) in ports.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", made.opset)],
        ir_version=made.ir_version,
        producer_name=made.producer[0],
        producer_version=made.producer[1],
    )
    helper.set_model_props(model, dict(made.metadata))
    onnx.save(model, str(path))
    return path
