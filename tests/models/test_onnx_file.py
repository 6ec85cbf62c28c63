"""What is read of an ONNX file, against the onnx package."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from assay.errors import BadModelError
from assay.models.inspection.onnx_graph import read_onnx_graph
from assay.models.onnx_file import hash_onnx, hash_onnx_files, list_weight_files, read_onnx_file
from brightness_classifier import FLOAT, make_brightness_classifier, make_port, move_weights_out

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
SIZES = st.one_of(st.integers(1, 2**40), st.just("batch"))


@st.composite
def draw_models(draw: st.DrawFn) -> onnx.ModelProto:
    """Models with random tensors, attributes, subgraphs, metadata and weights, not all of them valid."""

    def draw_tensor(name: str) -> onnx.TensorProto:
        values = draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40))
        return numpy_helper.from_array(np.array(values, dtype=np.int64), name)

    def draw_graph(depth: int) -> onnx.GraphProto:
        nodes = []
        for op_type in draw(st.lists(st.sampled_from(["Relu", "If", "QLinearConv", "Gemm"]), max_size=3)):
            node = helper.make_node(op_type, draw(st.lists(NAMES, max_size=3)), draw(st.lists(NAMES)))
            if op_type == "If" and depth:
                node.attribute.append(helper.make_attribute("then_branch", draw_graph(depth - 1)))
            if op_type == "Gemm":
                node.attribute.append(helper.make_attribute("value", draw_tensor("inner")))
                node.attribute.append(helper.make_attribute("alpha", 0.5))
            nodes.append(node)
        ports = [
            helper.make_tensor_value_info(
                draw(NAMES),
                draw(st.sampled_from([TensorProto.FLOAT, TensorProto.UINT8])),
                draw(st.one_of(st.none(), st.lists(SIZES, max_size=5))),
            )
            for _ in range(draw(st.integers(0, 4)))
        ]
        weights = [draw_tensor(name) for name in draw(st.lists(NAMES, max_size=3))]
        return helper.make_graph([*nodes, helper.make_node("Relu", ["a"], ["b"])], "g", ports, ports, weights)

    opset = draw(st.integers(1, 30))
    model = helper.make_model(draw_graph(2), opset_imports=[helper.make_opsetid("", opset)])
    helper.set_model_props(model, draw(st.dictionaries(NAMES, NAMES, max_size=3)))
    return model


def list_operators(graph: onnx.GraphProto) -> set[str]:
    inner = [list_operators(attribute.g) for node in graph.node for attribute in node.attribute]
    return {node.op_type for node in graph.node}.union(*inner)


@given(model=draw_models())
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_what_the_onnx_package_reads(model: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.onnx"
        path.write_bytes(model.SerializeToString())
        found = read_onnx_file(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    fed = [port for port in model.graph.input if port.name not in weights]
    for ports, expected in ((found.inputs, fed), (found.outputs, model.graph.output)):
        assert [port.name for port in ports] == [port.name for port in expected]
        for port, given_port in zip(ports, expected, strict=True):
            tensor = given_port.type.tensor_type
            assert port.dtype == helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
            dims = [dim.dim_value or None for dim in tensor.shape.dim] if tensor.HasField("shape") else None
            assert port.shape == (None if dims is None else tuple(dims))
    assert found.opset == model.opset_import[0].version
    assert found.operators == list_operators(model.graph)
    assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert found.is_quantised == ("QLinearConv" in list_operators(model.graph))


@given(content=st.binary(min_size=1, max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused_with_a_message(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bytes.onnx"
        path.write_bytes(content)
        try:
            read_onnx_file(path)
        except BadModelError as error:
            assert str(path) in error.message


def test_a_file_that_is_cut_off_anywhere_is_refused_or_lacks_its_graph(tmp_path: Path) -> None:
    whole = make_brightness_classifier(tmp_path / "whole.onnx").read_bytes()
    graph_end = whole.index(b"brightness_classifier") + 10
    for size in range(1, graph_end, 7):
        (tmp_path / "cut.onnx").write_bytes(whole[:size])
        with pytest.raises(BadModelError, match="cannot be read as an ONNX file"):
            read_onnx_file(tmp_path / "cut.onnx")


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = make_brightness_classifier(tmp_path / "latin.onnx", image=make_port("caf_", FLOAT, None))
    path.write_bytes(path.read_bytes().replace(b"caf_", b"caf\xe9"))
    with pytest.raises(BadModelError, match=r"not UTF-8: b'caf\\xe9'"):
        read_onnx_file(path)


def test_subgraphs_nested_ten_thousand_deep_are_read(tmp_path: Path) -> None:
    """Each level wraps the one before by hand: the onnx package itself stops at a hundred."""

    def encode(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 0x7F:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = encode(1, encode(4, b"Relu"))
    for _ in range(10_000):
        graph = encode(1, encode(4, b"If") + encode(5, encode(6, graph)))
    (tmp_path / "deep.onnx").write_bytes(encode(7, graph))
    assert read_onnx_file(tmp_path / "deep.onnx").operators == {"If", "Relu"}


def test_old_files_that_list_their_weights_among_the_inputs_have_one_input(tmp_path: Path) -> None:
    path = make_brightness_classifier(tmp_path / "old.onnx")
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT, [3, 2]))
    onnx.save(model, str(path))
    assert [port.name for port in read_onnx_file(path).inputs] == ["image"]


@pytest.mark.parametrize("location", ["model.onnx.data", "weights/all.bin"])
def test_weights_in_files_beside_it_are_part_of_the_hash(tmp_path: Path, location: str) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    inside = hash_onnx(path)
    move_weights_out(path, location)
    assert hash_onnx_files(path).keys() == {"model.onnx", location}
    before = hash_onnx(path)
    assert before != inside
    data = tmp_path / location
    data.write_bytes(bytes(reversed(data.read_bytes())))
    assert hash_onnx(path) != before


def test_two_data_files_that_change_places_give_another_hash(tmp_path: Path) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[helper.make_node("Add", ["logits", "bias"], ["class"])],
        constants={"bias": np.array([1, 2], np.float32)},
    )
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, location=f"{tensor.name}.bin")
    onnx.save(model, str(path))
    before = hash_onnx(path)
    first, second = (tmp_path / name for name in list_weight_files(path))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert hash_onnx(path) != before


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret.bin", "weights/../../secret.bin", ""])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "model" / "weights").mkdir(parents=True)
    path = make_brightness_classifier(tmp_path / "model" / "model.onnx")
    point_weights_to(path, location)
    with pytest.raises(BadModelError, match="outside the model's folder"):
        list_weight_files(path)


def point_weights_to(path: Path, location: str) -> None:
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location=location)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


def test_a_link_that_leads_out_of_the_models_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "model").mkdir()
    path = make_brightness_classifier(tmp_path / "model" / "model.onnx")
    point_weights_to(path, "data.bin")
    (tmp_path / "model" / "data.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(BadModelError, match="outside the model's folder"):
        list_weight_files(path)


def test_a_cache_in_which_model_and_weights_are_links_into_one_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    path = make_brightness_classifier(tmp_path / "blobs" / "model.onnx")
    move_weights_out(path)
    (tmp_path / "snapshot").mkdir()
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    assert hash_onnx(tmp_path / "snapshot" / "model.onnx") == hash_onnx(path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    move_weights_out(path)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(BadModelError, match=r"model\.onnx\.data, which is not there"):
        list_weight_files(path)


def test_a_name_of_an_operator_in_a_text_makes_no_quantised_file(tmp_path: Path) -> None:
    image = make_port("before_QuantizeLinear", FLOAT, None)
    path = make_brightness_classifier(tmp_path / "model.onnx", image=image)
    assert not read_onnx_file(path).is_quantised


@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x42\x02\x12\x00"])  # ir_version, the version of an opset
def test_a_number_that_is_written_as_a_list_of_none_is_not_there(tmp_path: Path, field: bytes) -> None:
    model = onnx.load(make_brightness_classifier(tmp_path / "m.onnx"))
    model.ClearField("ir_version")
    model.ClearField("opset_import")
    path = tmp_path / "other.onnx"
    path.write_bytes(model.SerializeToString() + field)
    graph = read_onnx_graph(path)
    assert (graph.version, graph.opset) == ("IR 0", 0)
