"""A record by a library's name takes the names of its tensors from the file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from assay.errors import BadModelError
from assay.models.choose_record import choose_record
from assay.models.complete_record import complete_record
from assay.models.record import ModelRecord

Ports = dict[str, list[int | str]]


def write_onnx(path: Path, inputs: Ports, outputs: Ports, *, kind: int = TensorProto.FLOAT) -> Path:
    """A file with these inputs and outputs; what lies between is of no account here."""
    nodes = [helper.make_node("Identity", [next(iter(inputs))], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_the_only_input_and_output_of_the_file_are_meant(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", {"pixels": ["n", 3, 224, 224]}, {"scores": ["n", 1000]})
    record = choose_record("timm/resnet18.a1_in1k", path)
    assert (record.name, record.input.name, record.output.name) == (
        "timm/resnet18.a1_in1k",
        "pixels",
        "scores",
    )


def test_of_several_outputs_the_one_with_a_row_of_classes_is_meant(tmp_path: Path) -> None:
    outputs: Ports = {"features": ["n", 512], "scores": ["n", 1000, 1, 1]}
    path = write_onnx(tmp_path / "a.onnx", {"pixels": ["n", 3, 224, 224]}, outputs)
    assert choose_record("torchvision/resnet18", path).output.name == "scores"


def test_channels_last_and_float16_are_the_files(tmp_path: Path) -> None:
    path = write_onnx(
        tmp_path / "a.onnx", {"x": [1, 224, 224, 3]}, {"y": [1, 1000]}, kind=TensorProto.FLOAT16
    )
    tensor = choose_record("timm/resnet18.a1_in1k", path).input
    assert (tensor.layout, tensor.dtype) == ("NHWC", "float16")


def test_a_checkpoint_gets_the_names_that_assay_exports_with(tmp_path: Path) -> None:
    record = choose_record("timm/resnet18.a1_in1k", tmp_path / "weights.pth")
    assert (record.input.name, record.output.name) == ("image", "class")


def test_names_that_the_record_gives_stay(tmp_path: Path, lite0_record: ModelRecord) -> None:
    assert complete_record(lite0_record, tmp_path / "none.onnx") is lite0_record


def test_pictures_of_another_size_are_refused_with_the_record_that_has_it(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", {"x": [1, 3, 288, 288]}, {"y": [1, 1000]})
    with pytest.raises(BadModelError, match=r"takes pictures of 288x288, .* is for 224x224") as caught:
        choose_record("timm/resnet18.a1_in1k", path)
    assert caught.value.hint == "give --model timm/resnet18.a1_in1k@288"
    assert choose_record("timm/resnet18.a1_in1k@288", path).input.height == 288
    with pytest.raises(BadModelError, match="is for 224x224") as caught:
        choose_record("torchvision/resnet18", path)
    assert caught.value.hint is not None
    assert "assay models torchvision/resnet18:IMAGENET1K_V1 -o record.toml" in caught.value.hint


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ({"x": [1, 3, 224, 224], "mask": [1]}, {"y": [1, 1000]}, "2 inputs \\('x', 'mask'\\)"),
        ({"x": [1, 3, 224, 224]}, {"y": [1, 1000], "z": [1, 1000]}, "2 outputs \\('y', 'z'\\)"),
    ],
)
def test_tensors_that_could_all_be_meant_are_refused(
    tmp_path: Path, inputs: Ports, outputs: Ports, expected: str
) -> None:
    path = write_onnx(tmp_path / "a.onnx", inputs, outputs)
    with pytest.raises(BadModelError, match=expected):
        choose_record("timm/resnet18.a1_in1k", path)
