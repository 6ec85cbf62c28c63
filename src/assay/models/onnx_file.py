"""What an ONNX file says of itself: tensors, operators, metadata, and which files hold its weights."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assay.errors import BadModelError, quote, shorten
from assay.files import hash_file
from assay.models.onnx_messages import Message, read_messages

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
_EXTERNAL = 1  # TensorProto.DataLocation
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "FakeQuantize")
_QUANTISED_COMPUTING = ("QLinear", "ConvInteger", "MatMulInteger", "QGemm", "QAttention")


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of the graph.

    Args:
        name: The tensor's name.
        dtype: NumPy's name of its type, or ONNX's number of it where NumPy has none.
        shape: Its axes: a size, or None for one that is open; None where no shape is declared.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """What an ONNX file says of itself.

    Args:
        opset: Of the standard operators; 0 where none is declared.
        inputs: What has to be fed: graph inputs that are not weights.
        outputs: The graph's outputs.
        operators: Types of all nodes, those of subgraphs and functions among them.
        training_nodes: Names of nodes that compute as during training.
        external_files: Paths of the files that hold weights, relative to the file's folder, sorted.
        metadata: What tools noted in the file, by key.
    """

    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: frozenset[str]
    training_nodes: tuple[str, ...]
    external_files: tuple[str, ...]
    metadata: dict[str, str]

    @property
    def is_quantised(self) -> bool:
        """Whether a node quantises, or computes with integers."""
        return any(name in _QUANTISED or name.startswith(_QUANTISED_COMPUTING) for name in self.operators)


def check_onnx_path(onnx_path: Path) -> None:
    """Refuse what cannot be an ONNX file, before anything reads it.

    Raises:
        BadModelError: Missing, empty, without the suffix `.onnx`, or a git-LFS pointer.
    """
    if not onnx_path.is_file():
        raise BadModelError(f"ONNX file {onnx_path} does not exist")
    if onnx_path.suffix.lower() != ".onnx":
        raise BadModelError(f"{onnx_path}: expected an ONNX file, its name ending in .onnx")
    with onnx_path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise BadModelError(f"{onnx_path} is empty", hint="export it again")
    if head.startswith(b"version https://git-lfs"):
        raise BadModelError(f"{onnx_path} is a git-LFS pointer, not the model", hint="run `git lfs pull`")


def read_onnx_file(onnx_path: Path) -> OnnxFile:
    """What the ONNX file says of itself; weights are passed over, so that a large file takes no longer.

    Raises:
        BadModelError: As `check_onnx_path`, or it is no ONNX file, is cut off, or a name in it is not UTF-8.
    """
    every = read_onnx_messages(onnx_path)
    model = every[0]
    graphs = model.children("graph")
    weights = {tensor.text("name") for graph in graphs for tensor in graph.children("initializer")}
    ports = [port for graph in graphs for port in graph.children("input")]
    opsets = [each for each in model.children("opset_import") if each.text("domain") in {"", "ai.onnx"}]
    nodes = [message for message in every if message.kind == "Node"]
    opset = max((each.number("version") for each in opsets), default=0)
    return OnnxFile(
        opset=opset,
        inputs=tuple(read_port(port) for port in ports if port.text("name") not in weights),
        outputs=tuple(read_port(port) for graph in graphs for port in graph.children("output")),
        operators=frozenset(node.text("op_type") for node in nodes),
        training_nodes=tuple(_list_training_nodes(every, opset)),
        external_files=tuple(sorted(_list_external_files(every))),
        metadata={entry.text("key"): entry.text("value") for entry in model.children("metadata_props")},
    )


def read_onnx_messages(onnx_path: Path) -> list[Message]:
    """All messages of the ONNX file, the model first; long values, such as weights, are cut.

    Raises:
        BadModelError: As `read_onnx_file`.
    """
    check_onnx_path(onnx_path)
    with onnx_path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            every = list(read_messages(data))
        except UnicodeDecodeError as error:
            raise BadModelError(
                f"{onnx_path}: a name in it is not UTF-8: {error.object[:40]!r}",
                hint="rename that tensor or node before exporting: ONNX asks for UTF-8",
            ) from error
        except (ValueError, IndexError) as error:
            raise BadModelError(
                f"{onnx_path} cannot be read as an ONNX file: {shorten(error)}",
                hint="expected a file written by `assay export` or another ONNX exporter, whole",
            ) from error
    if not any(graph.children("node") for graph in every[0].children("graph")):
        raise BadModelError(f"{onnx_path} cannot be read as an ONNX file: it has no graph with nodes")
    return every


def list_weight_files(onnx_path: Path) -> dict[str, Path]:
    """The files beside an ONNX file that hold weights, by what the ONNX file calls them.

    Raises:
        BadModelError: As `read_onnx_file`; a path that leads out of the model's folder, or no file is there.
    """
    found = {}
    for location in read_onnx_file(onnx_path).external_files:
        found[location] = path = onnx_path.parent / location
        named = PurePosixPath(location.replace("\\", "/"))
        # the real folder too: caches of models hold links to files elsewhere, all in one folder
        folders = {onnx_path.parent.resolve(), onnx_path.resolve().parent}
        is_inside = location.isprintable() and not named.is_absolute() and ".." not in named.parts
        if not is_inside or not folders & set(path.resolve().parents):
            raise BadModelError(
                f"{onnx_path}: its weights are said to be in {quote(location)}, outside the model's folder",
                hint="put the data file beside the ONNX file, and save the model with that location",
            )
        if not os.path.isfile(path):  # noqa: PTH113 - False where the name is too long
            raise BadModelError(
                f"{onnx_path}: its weights are in {location}, which is not there",
                hint="keep the ONNX file and its data file together",
            )
    return found


def hash_onnx_files(onnx_path: Path) -> dict[str, str]:
    """The sha256 of the ONNX file, by its name, and of each file that holds weights of it, by its location.

    Raises:
        BadModelError: As `list_weight_files`.
    """
    weights = list_weight_files(onnx_path)
    return {onnx_path.name: hash_file(onnx_path)} | {name: hash_file(path) for name, path in weights.items()}


def hash_onnx(onnx_path: Path) -> str:
    """One sha256 of an ONNX file with its weights: the file's own where they are in it, as mostly.

    Raises:
        BadModelError: As `list_weight_files`.
    """
    hashes = hash_onnx_files(onnx_path)
    if len(hashes) == 1:
        return hashes[onnx_path.name]
    lines = "".join(f"{sha256}\n" for sha256 in hashes.values())  # the file's own names the others
    return hashlib.sha256(lines.encode()).hexdigest()


def read_port(port: Message) -> Port:
    """The input or output that the message describes."""
    tensors = [tensor for kind in port.children("type") for tensor in kind.children("tensor_type")]
    number = next((tensor.number("elem_type") for tensor in tensors), 0)
    shapes = [shape for tensor in tensors for shape in tensor.children("shape")]
    dims = [dim for shape in shapes for dim in shape.children("dim")]
    sizes = (dim.number("dim_value") if "dim_value" in dim.numbers else None for dim in dims)
    return Port(
        name=port.text("name"),
        dtype=DTYPES.get(number, f"ONNX type {number}"),
        shape=tuple(size if size and size > 0 else None for size in sizes) if shapes else None,
    )


def _list_external_files(every: list[Message]) -> set[str]:
    found = set()
    for tensor in every:
        if tensor.kind == "Tensor" and tensor.number("data_location") == _EXTERNAL:
            entries = {entry.text("key"): entry.text("value") for entry in tensor.children("external_data")}
            found.add(entries.get("location", ""))
    return found


def _list_training_nodes(every: list[Message], opset: int) -> Iterator[str]:
    """Yield the names of nodes whose answer is one of training: BatchNormalization and Dropout.

    Batch normalisation says so by an attribute from opset 14 on, before by more than one output; dropout by
    its third input from opset 12 on (ONNX, Operators.md).
    """
    constants = {name for message in every for name in _list_true_constants(message)}
    for node in every:
        if node.kind != "Node" or node.text("domain") not in {"", "ai.onnx"}:
            continue
        outputs = [name for name in node.texts.get("output", []) if name]
        if node.text("op_type") == "BatchNormalization":
            said = {each.text("name"): each.number("i") for each in node.children("attribute")}
            is_training = said.get("training_mode", 0) == 1 if opset >= 14 else len(outputs) > 1
        elif node.text("op_type") == "Dropout":
            is_training = node.texts.get("input", [])[2:3] != [] and node.texts["input"][2] in constants
        else:
            continue
        if is_training:
            yield node.text("name") or node.text("op_type")


def _list_true_constants(message: Message) -> Iterator[str]:
    """Yield what a tensor that holds true, or a Constant node that gives it, is called."""
    if message.kind == "Tensor" and _is_true(message):
        yield message.text("name")
    if message.kind == "Node" and message.text("op_type") == "Constant":
        for attribute in message.children("attribute"):
            if any(_is_true(tensor) for tensor in attribute.children("t")):
                yield from message.texts.get("output", [])


def _is_true(tensor: Message) -> bool:
    values = [*tensor.contents.get("raw_data", []), *map(bool, tensor.numbers.get("int32_data", []))]
    return DTYPES.get(tensor.number("data_type")) == "bool" and values in ([b"\x01"], [True])
