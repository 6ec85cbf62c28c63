"""A record by a library's name takes the rest from the model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from assay.errors import BadModelError
from assay.models.choose_record import choose_record
from assay.models.complete_record import complete_record
from assay.models.record import ModelRecord

NAME = "timm/resnet18.a1_in1k"


def write_onnx(
    path: Path,
    *,
    shape: tuple[int | str, ...] = ("n", 3, 224, 224),
    classes: int = 1000,
    heads: tuple[str, ...] = ("scores",),
    kind: int = TensorProto.FLOAT,
    after: str = "",
) -> Path:
    """A network of a convolution, a mean over each channel and linear heads, each with `after` behind it."""
    draw, dtype = np.random.default_rng(0), helper.tensor_dtype_to_np_dtype(kind)
    weights = [("kernel", (8, 3, 3, 3)), *((f"{head}.weight", (8, classes)) for head in heads)]
    tensors = [numpy_helper.from_array(draw.normal(size=size).astype(dtype), name) for name, size in weights]
    first, nodes = "pixels", []
    if shape[-1] == 3:
        nodes.append(helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]))
        first = "planes"
    nodes += [
        helper.make_node("Conv", [first, "kernel"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    for head in heads:
        nodes.append(helper.make_node("MatMul", ["flat", f"{head}.weight"], [f"{head}{after}"]))
        nodes += [helper.make_node(after, [f"{head}{after}"], [head])] if after else []
    outputs = [helper.make_tensor_value_info(head, kind, [shape[0], classes]) for head in heads]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("pixels", kind, shape)], outputs, tensors
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_the_input_and_the_output_are_called_as_in_the_file(tmp_path: Path) -> None:
    record = choose_record(NAME, write_onnx(tmp_path / "a.onnx"))
    assert (record.name, record.input.name, record.output.name) == (NAME, "pixels", "scores")
    assert record.architecture == "timm/resnet18"
    assert [one.top1_percent for one in record.published_accuracy] == [71.504]
    assert (record.preprocessing.resize_side, record.output.scores) == (235, "logits")


def test_channels_last_float16_and_probabilities_are_the_files(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", shape=(1, 224, 224, 3), kind=TensorProto.FLOAT16, after="Softmax")
    record = choose_record(NAME, path)
    assert (record.input.layout, record.input.dtype) == ("NHWC", "float16")
    assert record.output.scores == "probabilities"


def test_a_checkpoint_gets_the_names_that_assay_exports_with(tmp_path: Path) -> None:
    record = choose_record(NAME, tmp_path / "weights.pth")
    assert (record.input.name, record.output.name) == ("image", "class")


def test_a_record_that_names_its_tensors_stays_as_it_is(tmp_path: Path, lite0_record: ModelRecord) -> None:
    assert complete_record(lite0_record, tmp_path / "none.onnx") is lite0_record


def test_pictures_of_another_size_are_refused_with_the_record_that_has_it(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", shape=(1, 3, 288, 288))
    with pytest.raises(BadModelError, match=r"takes pictures of 288x288, .* is for 224x224") as caught:
        choose_record(NAME, path)
    assert caught.value.hint == f"give --model {NAME}@288"
    assert choose_record(f"{NAME}@288", path).input.height == 288
    with pytest.raises(BadModelError, match="is for 224x224") as caught:
        choose_record("torchvision/resnet18", path)
    assert caught.value.hint is not None
    assert "assay models torchvision/resnet18:IMAGENET1K_V1 -o record.toml" in caught.value.hint


def test_a_network_of_other_classes_is_not_the_published_one(tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match=r"has 10 classes, timm.* has 1,000") as caught:
        choose_record(NAME, write_onnx(tmp_path / "a.onnx", classes=10))
    assert caught.value.hint is not None
    assert f"--like {NAME} -o record.toml" in caught.value.hint


def test_outputs_that_could_all_be_meant_are_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", heads=("one", "two"))
    with pytest.raises(BadModelError, match=r"output\.name: several outputs can hold"):
        choose_record(NAME, path)
