"""What a model file says of itself, gathered: what `assay inspect` shows and a record is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadModelError
from assay.models.inspection.architecture import WEIGHT_TYPES, recognise_architectures
from assay.models.inspection.form import ONNX, OPENVINO_IR, recognise_form, refuse_unreadable
from assay.models.inspection.front import Front, read_front
from assay.models.inspection.graph import QUANTISING, GraphTensor, ModelGraph
from assay.models.inspection.onnx_graph import read_onnx_graph
from assay.models.inspection.openvino_ir import read_ir_graph
from assay.models.inspection.tail import Tail, choose_tail, read_tails
from assay.models.onnx_file import Port, list_weight_files, read_onnx_file
from assay.models.tables.signatures import ArchitectureSignature


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """What the graph in a model file says.

    Args:
        path: The file.
        graph: Its nodes and constants.
        image: The input that takes images; None where there is not just one input.
        front: What is done to that input first; None where there is none.
        tails: What each output holds, the likeliest scores first.
        scores: The output that holds the scores; None where that is not told.
        weights: The constants that were trained.
        is_quantised: Whether a node quantises, or computes with integers.
        training_nodes: Names of nodes that compute as during training.
        architectures: Those of timm and torchvision whose tensors these are.
        has_names: Whether the tensors' names agree too, and not their shapes alone.
    """

    path: Path
    graph: ModelGraph
    image: Port | None
    front: Front | None
    tails: tuple[Tail, ...]
    scores: Tail | None
    weights: tuple[GraphTensor, ...]
    is_quantised: bool
    training_nodes: tuple[str, ...]
    architectures: tuple[ArchitectureSignature, ...]
    has_names: bool


def read_network_facts(path: Path) -> NetworkFacts:
    """What an ONNX file or an OpenVINO IR says of itself; nothing of it runs.

    Raises:
        BadModelError: It is no such file, or cannot be read.
    """
    form = recognise_form(path)
    refuse_unreadable(path, form)
    if form == ONNX:
        list_weight_files(path)
        said = read_onnx_file(path)
        graph, training, is_quantised = read_onnx_graph(path), said.training_nodes, said.is_quantised
    elif form == OPENVINO_IR:
        graph, training = read_ir_graph(path), ()
        is_quantised = any(node.operator in QUANTISING for node in graph.nodes)
    else:
        raise BadModelError(f"{path} is a {form}: it holds no graph")
    image = graph.inputs[0] if len(graph.inputs) == 1 else None
    tails = read_tails(graph)
    scores = choose_tail(tails)
    architectures, has_names = recognise_architectures(graph, scores.class_count if scores else None)
    return NetworkFacts(
        path=path,
        graph=graph,
        image=image,
        front=read_front(graph, image) if image else None,
        tails=tuple(tails),
        scores=scores,
        weights=tuple(list_weights(graph)),
        is_quantised=is_quantised,
        training_nodes=training,
        architectures=architectures,
        has_names=has_names,
    )


def list_weights(graph: ModelGraph) -> list[GraphTensor]:
    """The constants that were trained: tensors of floats, or of integers that stand for floats."""
    scales = {name for node in graph.nodes if node.operator in QUANTISING for name in node.inputs[1:]}
    return [
        tensor
        for name, tensor in graph.tensors.items()
        if tensor.dtype in WEIGHT_TYPES and tensor.size > 1 and name not in scales
    ]
