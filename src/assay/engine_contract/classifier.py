"""A real, tiny classifier, as an ONNX file and as a checkpoint: a linear layer on the image's mean colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from assay.arrays import Logits
from assay.models.choose_record import store_record
from assay.models.read_record import read_model_record


def draw_weights(class_count: int = 1000, seed: int = 3) -> Logits:
    """The linear layer, float32 (3, classes)."""
    return np.random.default_rng(seed).normal(size=(3, class_count)).astype(np.float32)


class ColourClassifier(nn.Module):
    """The same network in torch."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.empty(3, class_count))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        return images.mean(dim=(2, 3)) @ self.weights


def make_colour_classifier(
    path: Path,
    *,
    input_name: str = "image",
    output_name: str = "class",
    class_count: int = 1000,
    batch_size: int | None = None,
    seed: int = 3,
) -> Path:
    """Write a real, tiny ONNX classifier: a linear layer on the image's mean colour.

    The file carries SE-ResNeXt-50's model record, as one made by `assay export` does.
    """
    batch = batch_size or "batch"
    weights = draw_weights(class_count, seed)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", [input_name], ["means"]),
            helper.make_node("Flatten", ["means"], ["colour"]),
            helper.make_node("MatMul", ["colour", "weights"], [output_name]),
        ],
        "colour_classifier",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, 3, 224, 224])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, [batch, class_count])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    store_record(path, read_model_record("se_resnext50_32x4d"))
    return path
