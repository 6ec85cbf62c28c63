"""ONNX file or OpenVINO IR, whichever it is: what it says of itself, and the files it is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from assay.files import hash_file
from assay.models.inspection.graph import ModelGraph
from assay.models.inspection.onnx_graph import read_onnx_graph
from assay.models.inspection.openvino_ir import find_ir_weights, read_ir_graph
from assay.models.onnx_file import (
    OnnxFile,
    check_onnx_path,
    hash_onnx,
    hash_onnx_files,
    list_weight_files,
    read_onnx_file,
)

MODEL_SUFFIXES = (".onnx", ".xml")


def is_model_file(path: Path) -> bool:
    """Whether the path is called as files are that hold a graph, and are compiled as they are."""
    return path.suffix.lower() in MODEL_SUFFIXES


def is_openvino_ir(path: Path) -> bool:
    """Whether the path is called as an OpenVINO IR is."""
    return path.suffix.lower() == ".xml"


def check_model_path(path: Path) -> None:
    """Refuse what cannot be an ONNX file or OpenVINO IR, before anything reads it.

    Raises:
        BadModelError: As `check_onnx_path`, or the IR cannot be read.
    """
    if is_openvino_ir(path) and path.is_file():
        read_ir_graph(path)
    else:
        check_onnx_path(path)


def read_model_file(path: Path) -> OnnxFile:
    """What the file says of itself, an IR in ONNX's words.

    Raises:
        BadModelError: As `read_onnx_file` and `read_ir_graph`.
    """
    if not is_openvino_ir(path):
        return read_onnx_file(path)
    graph = read_ir_graph(path)
    return OnnxFile(
        opset=graph.opset,
        inputs=graph.inputs,
        outputs=graph.outputs,
        operators=frozenset(node.operator for node in graph.nodes),
        training_nodes=(),
        external_files=(path.with_suffix(".bin").name,),
        metadata=dict(graph.metadata),
    )


def read_graph(path: Path) -> ModelGraph:
    """The network in the file.

    Raises:
        BadModelError: As `read_onnx_graph` and `read_ir_graph`.
    """
    return read_ir_graph(path) if is_openvino_ir(path) else read_onnx_graph(path)


def list_model_weights(path: Path) -> dict[str, Path]:
    """The files beside it that hold weights, by what the file calls them.

    Raises:
        BadModelError: As `list_weight_files`, or the .bin of an IR is not there.
    """
    if not is_openvino_ir(path):
        return list_weight_files(path)
    weights = find_ir_weights(path)
    return {weights.name: weights}


def hash_model_files(path: Path) -> dict[str, str]:
    """The sha256 of the file and of each that holds weights of it, by name.

    Raises:
        BadModelError: As `list_model_weights`.
    """
    if not is_openvino_ir(path):
        return hash_onnx_files(path)
    return {path.name: hash_file(path)} | {
        name: hash_file(file) for name, file in list_model_weights(path).items()
    }


def hash_model(path: Path) -> str:
    """One sha256 of the file with its weights.

    Raises:
        BadModelError: As `list_model_weights`.
    """
    if not is_openvino_ir(path):
        return hash_onnx(path)
    return hashlib.sha256("".join(f"{one}\n" for one in hash_model_files(path).values()).encode()).hexdigest()
