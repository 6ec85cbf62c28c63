"""OpenVINO's IR as a graph: the .xml is read as data, of the .bin only small constants."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from assay.errors import BadModelError, blame_file, shorten
from assay.models.inspection.graph import GraphNode, GraphTensor, ModelGraph
from assay.models.onnx_file import Port

_TYPES = {
    "f32": "float32",
    "f16": "float16",
    "f64": "float64",
    "bf16": "bfloat16",
    "u8": "uint8",
    "i8": "int8",
    "i32": "int32",
    "i64": "int64",
    "boolean": "bool",
}
_FORMATS = {
    "float32": "f",
    "float16": "e",
    "float64": "d",
    "uint8": "B",
    "int8": "b",
    "int32": "i",
    "int64": "q",
}
_LONGEST_VALUES = 16  # numbers of a constant that are read; longer ones are weights
# What ONNX calls them
_OPERATORS = {
    "Convolution": "Conv",
    "GroupConvolution": "Conv",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "SoftMax": "Softmax",
    "Convert": "Cast",
    "BatchNormInference": "BatchNormalization",
    "AvgPool": "AveragePool",
    "VariadicSplit": "Split",
    "ShapeOf": "Shape",
    "Interpolate": "Resize",
    "StridedSlice": "Slice",
    "MVN": "LayerNormalization",
}


def find_ir_weights(xml_path: Path) -> Path:
    """The .bin that belongs to an .xml.

    Raises:
        BadModelError: It is not there.
    """
    weights = xml_path.with_suffix(".bin")
    if not weights.is_file():
        raise BadModelError(
            f"{xml_path}: its weights are in {weights.name}, which is not there",
            hint="keep the .xml and the .bin of an OpenVINO IR together, with the same name",
        )
    return weights


def read_ir_graph(xml_path: Path) -> ModelGraph:
    """The network in an OpenVINO IR.

    Raises:
        BadModelError: It is no IR, is cut off, or its .bin is not there.
    """
    weights = find_ir_weights(xml_path)
    with blame_file(
        BadModelError,
        f"{xml_path} cannot be read as an OpenVINO IR",
        hint="expected an .xml that OpenVINO wrote, whole",
    ):
        return _read_net(ElementTree.parse(xml_path).getroot(), weights)


def _read_net(net: Element, weights: Path) -> ModelGraph:
    layers = {layer.attrib["id"]: layer for layer in net.iterfind("layers/layer")}
    if net.tag != "net" or not layers:
        raise ValueError(f"it has no layers, and begins with <{shorten(net.tag, 40)}>")
    names = {number: _name_outputs(layer) for number, layer in layers.items()}
    feeds: dict[str, dict[int, str]] = {number: {} for number in layers}
    for edge in net.iterfind("edges/edge"):
        made = names[edge.attrib["from-layer"]][edge.attrib["from-port"]]
        feeds[edge.attrib["to-layer"]][int(edge.attrib["to-port"])] = made
    tensors = {tensor.name: tensor for tensor in _list_constants(layers, names, weights)}
    nodes = []
    for number in _sort(layers, feeds, names):
        if layers[number].attrib["type"] not in ("Parameter", "Const", "Result"):
            inputs = [name for _, name in sorted(feeds[number].items())]
            nodes.append(_read_layer(layers[number], inputs, tuple(names[number].values()), tensors))
    shapes = {
        name: port for number, layer in layers.items() for name, port in _list_ports(layer, names[number])
    }
    metadata = dict(_flatten(net.find("rt_info"), ""))
    return ModelGraph(
        form="OpenVINO IR",
        version=f"IR {net.attrib.get('version', '?')}",
        opset=0,
        producer=f"OpenVINO {metadata.pop('Runtime_version', '') or metadata.pop('info', '')}".strip(),
        name=net.attrib.get("name", ""),
        inputs=tuple(
            shapes[name]
            for n in layers
            if layers[n].attrib["type"] == "Parameter"
            for name in names[n].values()
        ),
        outputs=tuple(
            shapes[name] for n in layers if layers[n].attrib["type"] == "Result" for name in feeds[n].values()
        ),
        nodes=tuple(nodes),
        tensors=tensors,
        metadata=metadata,
    )


def _name_outputs(layer: Element) -> dict[str, str]:
    """What each output port's tensor is called: its first name, else the layer's with its number."""
    own = f"{layer.attrib.get('name', 'layer')} ({layer.attrib['id']}:"
    return {
        port.attrib["id"]: port.attrib.get("names", "").split(",")[0] or f"{own}{port.attrib['id']})"
        for port in layer.iterfind("output/port")
    }


def _list_ports(layer: Element, names: Mapping[str, str]) -> Iterator[tuple[str, Port]]:
    """Yield the tensor of each output port, as an input or output of the graph says it."""
    precisions = {"FP32": "float32", "FP16": "float16", "FP64": "float64", "U8": "uint8", "I8": "int8"}
    for port in layer.iterfind("output/port"):
        precision = port.attrib.get("precision", "")
        name = names[port.attrib["id"]]
        shape = tuple(None if (size := int(dim.text or -1)) < 0 else size for dim in port.iterfind("dim"))
        yield (
            name,
            Port(
                name=name, dtype=precisions.get(precision, precision.lower().replace("i", "int")), shape=shape
            ),
        )


def _read_layer(
    layer: Element, inputs: list[str], outputs: tuple[str, ...], tensors: Mapping[str, GraphTensor]
) -> GraphNode:
    kind = layer.attrib["type"]
    data = layer.find("data")
    given = dict(data.attrib) if data is not None else {}
    numbers: dict[str, tuple[float, ...]] = {}
    if given.get("axis", "").lstrip("-").isdigit():
        numbers["axis"] = (int(given["axis"]),)
    if given.get("transpose_b") in ("true", "1"):
        numbers["transB"] = (1,)
    if "pads_begin" in given:
        sides = [word for side in ("pads_begin", "pads_end") for word in given.get(side, "").split(",")]
        numbers["pads"] = tuple(int(word) for word in sides if word.strip().lstrip("-").isdigit())
    if given.get("auto_pad", "").startswith("same"):
        numbers["pads"] = (0, 1)  # however many: more at one side
    if kind == "Transpose" and len(inputs) > 1 and inputs[1] in tensors:
        numbers["perm"] = tensors[inputs[1]].values
    return GraphNode(
        name=layer.attrib.get("name", ""),
        operator=_OPERATORS.get(kind, kind),
        inputs=tuple(inputs),
        outputs=outputs,
        numbers=numbers,
    )


def _list_constants(
    layers: Mapping[str, Element], names: Mapping[str, Mapping[str, str]], weights: Path
) -> Iterator[GraphTensor]:
    size = weights.stat().st_size
    with weights.open("rb") as file:
        for number, layer in layers.items():
            data = layer.find("data")
            if layer.attrib["type"] != "Const" or data is None:
                continue
            dtype = _TYPES.get(data.attrib["element_type"], data.attrib["element_type"])
            shape = tuple(int(axis) for axis in data.attrib["shape"].split(",") if axis.strip())
            start, length = int(data.attrib["offset"]), int(data.attrib["size"])
            if start + length > size:
                raise ValueError(f"{weights.name} ends at byte {size:,}, before its constants do")
            values: tuple[float, ...] = ()
            if dtype in _FORMATS and math.prod(shape) <= _LONGEST_VALUES:
                file.seek(start)
                content = file.read(struct.calcsize(f"<{math.prod(shape)}{_FORMATS[dtype]}"))
                values = struct.unpack(f"<{math.prod(shape)}{_FORMATS[dtype]}", content)
            for name in names[number].values():
                yield GraphTensor(
                    name=name, dtype=dtype, shape=shape, values=values, file=weights, offset=start
                )


def _sort(
    layers: Mapping[str, Element],
    feeds: Mapping[str, Mapping[int, str]],
    names: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """The layers in an order in which they can be computed."""
    makers = {name: number for number, made in names.items() for name in made.values()}
    waiting = {number: {makers[name] for name in fed.values()} for number, fed in feeds.items()}
    readers: dict[str, list[str]] = {}
    for number, needed in waiting.items():
        for other in needed:
            readers.setdefault(other, []).append(number)
    ready = [number for number in layers if not waiting[number]]
    order = []
    while ready:
        number = ready.pop()
        order.append(number)
        for reader in readers.get(number, []):
            waiting[reader].discard(number)
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(layers):
        raise ValueError("its layers read one another in a circle")
    return order


def _flatten(element: Element | None, path: str) -> Iterator[tuple[str, str]]:
    """Yield what tools noted, each with the names above it: `model_info.mean_values`."""
    for child in element if element is not None else ():
        own = child.attrib.get("name") if child.tag in ("info", "attribute") else None
        name = f"{path}{own or child.tag}"
        if "value" in child.attrib:
            yield ("Runtime_version" if own == "OpenVINO Runtime" else name), child.attrib["value"]
        yield from _flatten(child, f"{name}.")
