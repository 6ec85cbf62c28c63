"""From a float ONNX file to an int8 one with quantise/dequantise pairs, by NNCF."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx.version_converter

from assay.arrays import Images
from assay.errors import BadModelError, EngineError, UsageError, quote_reason, shorten
from assay.models.calibration import WeightRange
from assay.models.choose_record import RECORD_KEY
from assay.models.network_input import make_network_input
from assay.models.record import ModelRecord

os.environ["NNCF_CI"] = "1"  # read when NNCF is imported: it reports its use otherwise

import nncf
from nncf.onnx.graph.metatypes.onnx_metatypes import ONNXGroupConvolutionMetatype
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from nncf.quantization.algorithms.min_max.onnx_backend import ONNXMinMaxAlgoBackend

Preset = Literal["mixed", "performance"]
PRESETS = {"mixed": nncf.QuantizationPreset.MIXED, "performance": nncf.QuantizationPreset.PERFORMANCE}
# Left alone, NNCF halves the first convolution's weights only. It never halves those of depthwise ones, which
# runtimes compute in wider sums.
OVERFLOW_FIXES = {"half": OverflowFix.ENABLE, "full": OverflowFix.DISABLE}
_PASSING = {"Transpose", "Reshape", "Cast", "Identity", "Squeeze", "Unsqueeze"}
LAYER_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")
OLDEST_IR = 7  # that of opset 13; before 4, weights had to be inputs too
OLDEST_OPSET = 13  # from there on, weights can be quantised channel by channel (ONNX, QuantizeLinear-13)
TOOL = f"NNCF {nncf.__version__}"


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How a model is quantised.

    Args:
        preset: `mixed` quantises activations asymmetrically, `performance` symmetrically.
        weight_range: `half` keeps weights within -64 to 64: sums of two products with uint8 then fit 16
            bits, in which processors without VNNI add them. `full` uses -127 to 127.
        float_layers: Names of nodes that stay in float.
    """

    preset: Preset = "mixed"
    weight_range: WeightRange = "half"
    float_layers: tuple[str, ...] = ()


DEFAULT_QUANTISATION = Quantisation()


def read_onnx(onnx_path: Path) -> Any:
    """Return the ONNX file as a ModelProto, with its weights.

    Raises:
        BadModelError: It cannot be read.
    """
    try:
        return onnx.load(str(onnx_path))
    except Exception as error:  # the parser's error is of no class that onnx names
        reason = quote_reason(error)
        raise BadModelError(f"{onnx_path} cannot be read as an ONNX file: {reason}") from error


def read_float_onnx(onnx_path: Path) -> Any:
    """A float ONNX file as a ModelProto, with its weights, in opset 13 where it has an older one.

    Weights in Constant nodes become initializers, where they are looked for, and every node gets a name of
    its own, by which layers are told apart.

    Raises:
        BadModelError: It cannot be read, or not be converted to that opset, or computes in float16.
    """
    model = read_onnx(onnx_path)
    model.ir_version = max(model.ir_version, OLDEST_IR)
    _gather_weights(model.graph)
    name_nodes(model.graph)
    if _has_float16_layers(model.graph):
        raise BadModelError(
            f"{onnx_path} computes in float16, which {TOOL} cannot quantise",
            hint="quantise the float32 file that it was made of",
        )
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if opset >= OLDEST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OLDEST_OPSET)
    except RuntimeError as error:
        raise BadModelError(
            f"{onnx_path} has opset {opset}; quantisation needs {OLDEST_OPSET} or later, and onnx cannot "
            f"convert it: {quote_reason(error)}",
            hint="export it again with --opset 17",
        ) from error


def _gather_weights(graph: Any) -> None:
    """Make initializers of Constant nodes that hold what layers compute with, and inputs of no weights."""
    weights = {tensor.name for tensor in graph.initializer}
    for port in [port for port in graph.input if port.name in weights]:
        graph.input.remove(port)
    read = {name for node in graph.node if node.op_type in LAYER_TYPES for name in node.input[1:]}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] in read]:
        (attribute,) = node.attribute
        if attribute.name == "value":
            graph.initializer.add().CopyFrom(attribute.t)
            graph.initializer[-1].name = node.output[0]
            graph.node.remove(node)


def name_nodes(graph: Any) -> None:
    """Name the nodes that have no name, or another's: by their operator and place."""
    taken: set[str] = set()
    for place, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{place}"
        taken.add(node.name)


def _has_float16_layers(graph: Any) -> bool:
    half = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    return any(half & set(node.input) for node in graph.node if node.op_type in LAYER_TYPES)


def write_onnx(model: Any, path: Path) -> None:
    """Write a ModelProto, with its weights, as an ONNX file."""
    onnx.save(model, str(path))


def list_layers(model: Any) -> list[str]:
    """Return the names of the layers that compute: convolutions and matrix products, in the graph's order."""
    return [node.name for node in model.graph.node if node.op_type in LAYER_TYPES]


def match_layers(model: Any, patterns: Sequence[str]) -> list[str]:
    """Return the names of the graph's nodes that a name or pattern (`*fc*`) stands for.

    Raises:
        UsageError: A pattern that matches nothing.
    """
    names = [node.name for node in model.graph.node]
    found = {pattern: fnmatch.filter(names, pattern) for pattern in patterns}
    for pattern, matches in found.items():
        if not matches:
            layers = list_layers(model)
            raise UsageError(
                f"--keep-float {pattern}: no layer is called so",
                hint=shorten(f"layers are called {', '.join(layers[:3])}, … {layers[-1]}") if layers else "",
            )
    matched = {name for matches in found.values() for name in matches}
    return [name for name in names if name in matched]


def list_products_of_activations(model: Any) -> list[str]:
    """The layers that multiply activations with activations, as attention does: no weights to halve."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name for tensor in graph.initializer}

    def is_constant(tensor: str) -> bool:
        while tensor in makers and makers[tensor].op_type in _PASSING:
            tensor = makers[tensor].input[0]
        return tensor in constants or (tensor in makers and makers[tensor].op_type == "Constant")

    layers = [node for node in graph.node if node.op_type in LAYER_TYPES]
    return [node.name for node in layers if not any(map(is_constant, node.input[:2]))]


def quantize_onnx(
    model: Any,
    out_path: Path,
    images: Iterable[Images],
    *,
    record: ModelRecord,
    quantisation: Quantisation = DEFAULT_QUANTISATION,
) -> None:
    """Write the model in int8: weights and activations between quantise/dequantise pairs.

    Args:
        model: A float ONNX model as `read_float_onnx` gives it; it is not changed.
        out_path: The file to write.
        images: What the ranges are measured on, each float32 (1, channels, height, width).
        record: The network's input.
        quantisation: The preset, the range of the weights, the layers in float.

    Raises:
        EngineError: NNCF failed; its own error is the cause.
    """
    batches, float_layers = list(images), list(quantisation.float_layers)
    with _quieten(), _halving_grouped_convolutions():
        try:
            quantized = nncf.quantize(
                model,
                nncf.Dataset(batches, lambda batch: {record.input.name: make_network_input(batch, record)}),
                preset=PRESETS[quantisation.preset],
                subset_size=len(batches),
                ignored_scope=nncf.IgnoredScope(names=float_layers) if float_layers else None,
                advanced_parameters=AdvancedQuantizationParameters(
                    overflow_fix=OVERFLOW_FIXES[quantisation.weight_range]
                ),
            )
        except Exception as error:
            raise EngineError(f"NNCF cannot quantise the model: {quote_reason(error)}") from error
    for entry in [entry for entry in quantized.metadata_props if entry.key == RECORD_KEY]:
        quantized.metadata_props.remove(entry)  # the caller stores its own
    write_onnx(quantized, out_path)


def return_to_float(model: Any, source: Any, layers: Iterable[str]) -> Any:
    """Return a copy of an int8 model in which the named layers compute in float.

    Their activations are read from before the quantise/dequantise pair, their weights and biases from
    `source`, since quantisation corrects biases. A pair goes altogether when every layer that computes with
    what it makes, over additions, poolings and other pairs, is a named one: with all layers named, the model
    is the float one.

    Args:
        model: A model with quantise/dequantise pairs; it is not changed.
        source: The float model it was made of.
        layers: Names of layers that both have.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    wanted = set(layers)
    pairs = _find_pairs(graph)
    needless = {
        made: pairs[made] for made in pairs if (found := _find_layers_after(graph, made)) and found <= wanted
    }
    original = {node.name: node for node in source.graph.node}
    weights = {tensor.name: tensor for tensor in source.graph.initializer}
    for node in graph.node:
        bypassed = pairs if node.name in wanted else needless
        for place, tensor in enumerate(node.input):
            node.input[place] = _follow(tensor, bypassed)
        if node.name in wanted:
            for place, tensor in enumerate(original[node.name].input):
                if tensor in weights:
                    node.input[place] = _add_weights(graph, weights[tensor])
    _delete_unused(graph)
    return changed


def _find_pairs(graph: Any) -> dict[str, str]:
    """What each quantise/dequantise pair makes, with what it is made of."""
    makers = {output: node for node in graph.node for output in node.output}
    pairs = {}
    for node in graph.node:
        quantise = makers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantise is not None and quantise.op_type == "QuantizeLinear":
            pairs[node.output[0]] = quantise.input[0]
    return pairs


def _follow(tensor: str, bypassed: dict[str, str]) -> str:
    while tensor in bypassed:
        tensor = bypassed[tensor]
    return tensor


def _find_layers_after(graph: Any, tensor: str) -> set[str]:
    """Return the computing layers that a tensor reaches without another computing layer in between."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found, seen, waiting = set(), {tensor}, [tensor]
    while waiting:
        for node in readers.get(waiting.pop(), []):
            if node.op_type in LAYER_TYPES:
                found.add(node.name)
                continue
            waiting += [name for name in node.output if name not in seen]
            seen.update(node.output)
    return found


def _add_weights(graph: Any, weights: Any) -> str:
    """Add float weights to the graph, once, and return what they are called there."""
    name = f"{weights.name}.float"
    if all(tensor.name != name for tensor in graph.initializer):
        added = graph.initializer.add()
        added.CopyFrom(weights)
        added.name = name
    return name


def _delete_unused(graph: Any) -> None:
    """Delete nodes and initializers that nothing reads any more."""
    while True:
        read = {tensor for node in graph.node for tensor in node.input} | {out.name for out in graph.output}
        unused = [node for node in graph.node if not read & set(node.output)]
        for node in unused:
            graph.node.remove(node)
        if not unused:
            break
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


@contextlib.contextmanager
def _halving_grouped_convolutions() -> Iterator[None]:
    """Let `overflow_fix` reach grouped convolutions, which NNCF 3.4 forgets in ONNX files alone."""
    original = ONNXMinMaxAlgoBackend.overflow_fix_metatypes
    ONNXMinMaxAlgoBackend.overflow_fix_metatypes = property(
        lambda backend: [*original.fget(backend), ONNXGroupConvolutionMetatype]
    )
    try:
        yield
    finally:
        ONNXMinMaxAlgoBackend.overflow_fix_metatypes = original


@contextlib.contextmanager
def _quieten() -> Iterator[None]:
    """Keep NNCF's progress bars, log lines and warnings from the terminal."""
    level = nncf.common.logging.nncf_logger.level
    nncf.common.logging.nncf_logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        nncf.common.logging.nncf_logger.setLevel(level)
