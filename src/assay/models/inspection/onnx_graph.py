"""An ONNX file as a graph of nodes and constants, read without the onnx package and without its weights."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from assay.files import is_inner_path
from assay.models.inspection.graph import GraphNode, GraphTensor, ModelGraph
from assay.models.onnx_file import DTYPES, read_onnx_messages, read_port
from assay.models.onnx_messages import Message

_STANDARD = {"", "ai.onnx"}
_FORMATS = {
    "float32": "f",
    "float64": "d",
    "int64": "q",
    "int32": "i",
    "uint8": "B",
    "int8": "b",
    "float16": "e",
}
_CONSTANT_NUMBERS = {
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
}

_OFFSET = re.compile(r"[0-9]{1,18}")


def read_onnx_graph(onnx_path: Path) -> ModelGraph:
    """The network in an ONNX file; nodes of subgraphs and of functions are passed over.

    Raises:
        BadModelError: As `read_onnx_file`.
    """
    model = read_onnx_messages(onnx_path)[0]
    graphs = model.children("graph")
    nodes = [node for graph in graphs for node in graph.children("node")]
    weights = [_read_tensor(each, onnx_path) for graph in graphs for each in graph.children("initializer")]
    tensors = {tensor.name: tensor for tensor in (*weights, *_list_constants(nodes, onnx_path))}
    opsets = [each for each in model.children("opset_import") if each.text("domain") in _STANDARD]
    ports = [read_port(port) for graph in graphs for port in graph.children("input")]
    return ModelGraph(
        form="ONNX",
        version=f"IR {model.number('ir_version')}",
        opset=max((each.number("version") for each in opsets), default=0),
        producer=f"{model.text('producer_name')} {model.text('producer_version')}".strip(),
        name=" ".join(graph.text("name") for graph in graphs),
        inputs=tuple(port for port in ports if port.name not in tensors),
        outputs=tuple(read_port(port) for graph in graphs for port in graph.children("output")),
        nodes=tuple(_read_node(node) for node in nodes if node.text("op_type") != "Constant"),
        tensors=tensors,
        functions=frozenset(function.text("name") for function in model.children("functions")),
        metadata={entry.text("key"): entry.text("value") for entry in model.children("metadata_props")},
    )


def _read_node(node: Message) -> GraphNode:
    domain = node.text("domain")
    numbers: dict[str, tuple[float, ...]] = {}
    for attribute in node.children("attribute"):
        found = (
            *attribute.numbers.get("i", []),
            *attribute.numbers.get("ints", []),
            *attribute.floats.get("f", []),
            *attribute.floats.get("floats", []),
        )
        if found:
            numbers[attribute.text("name")] = tuple(found)
    return GraphNode(
        name=node.text("name"),
        operator=node.text("op_type") if domain in _STANDARD else f"{domain}.{node.text('op_type')}",
        inputs=tuple(node.texts.get("input", [])),
        outputs=tuple(node.texts.get("output", [])),
        numbers=numbers,
    )


def _list_constants(nodes: list[Message], onnx_path: Path) -> Iterator[GraphTensor]:
    """Yield what Constant nodes give: Paddle's exporter keeps weights so."""
    for node in nodes:
        if node.text("op_type") != "Constant":
            continue
        for name in node.texts.get("output", []):
            for attribute in node.children("attribute"):
                for tensor in attribute.children("t"):
                    yield _read_tensor(tensor, onnx_path, name)
                if (dtype := _CONSTANT_NUMBERS.get(attribute.text("name"))) is not None:
                    is_float = dtype == "float32"
                    one = (attribute.floats if is_float else attribute.numbers).get(
                        "f" if is_float else "i", []
                    )
                    many = (attribute.floats if is_float else attribute.numbers).get(
                        "floats" if is_float else "ints", []
                    )
                    shape = () if attribute.text("name") in {"value_float", "value_int"} else (len(many),)
                    yield GraphTensor(name=name, dtype=dtype, shape=shape, values=tuple(one or many))


def _read_tensor(tensor: Message, onnx_path: Path, name: str = "") -> GraphTensor:
    shape = tuple(tensor.numbers.get("dims", []))
    dtype = DTYPES.get(tensor.number("data_type"), "")
    size = math.prod(shape)
    values: tuple[float, ...] = (
        *tensor.floats.get("float_data", []),
        *tensor.numbers.get("int64_data", []),
        *(tensor.numbers.get("int32_data", []) if dtype != "float16" else []),
    )
    raw = b"".join(tensor.contents.get("raw_data", []))
    if raw and dtype in _FORMATS and len(raw) == size * struct.calcsize(f"<{_FORMATS[dtype]}"):
        values = struct.unpack(f"<{size}{_FORMATS[dtype]}", raw)
    file, offset = _find_bytes(tensor, onnx_path)
    return GraphTensor(
        name=name or tensor.text("name"),
        dtype=dtype,
        shape=shape,
        values=values if len(values) == size else (),
        file=file,
        offset=offset,
    )


def _find_bytes(tensor: Message, onnx_path: Path) -> tuple[Path | None, int]:
    """Where a tensor's bytes stand: in the file, or in one beside it."""
    if "raw_data" in tensor.places:
        return onnx_path, tensor.places["raw_data"]
    outside = {entry.text("key"): entry.text("value") for entry in tensor.children("external_data")}
    location, offset = outside.get("location", ""), outside.get("offset") or "0"
    if not is_inner_path(location.removeprefix("./")) or not _OFFSET.fullmatch(offset):
        return None, 0
    return onnx_path.parent / location, int(offset)
