"""The steps of an ONNX graph: what computes a tensor of the images, with its weights, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

LAYER_TYPES = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose"})
QUANTISER_TYPES = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SHAPE_TYPES = frozenset({"Shape", "Size", "Constant", "ConstantOfShape", "Cast", "Range", "Expand"})
_MOVING_TYPES = frozenset(
    {"Identity", "Dropout", "Pad", "Slice", "Reshape", "Flatten", "Transpose", "Concat", "Gather"}
    | {"Squeeze", "Unsqueeze", "Split"}
)
PASSED_OVER = _SHAPE_TYPES | _MOVING_TYPES | QUANTISER_TYPES
_ACTIVATIONS = frozenset(
    {"Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish"}
    | {"Swish", "Tanh", "Gelu", "Mish", "Softplus", "Softsign", "ThresholdedRelu", "Erf"}
)
_POOLS = frozenset(
    {"GlobalAveragePool", "AveragePool", "ReduceMean", "MaxPool", "GlobalMaxPool", "ReduceMax"}
)
_KINDS = dict.fromkeys(_ACTIVATIONS, "activation") | dict.fromkeys(_POOLS, "pool")
_FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
)
_HALVES = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
# What the evaluator raises on operators that it does not know; the value is not known then either
_EVALUATOR_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
_LARGEST_CONSTANT = 2**24  # elements; larger ones are no weights of a classifier's layer

Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphStep:
    """A node that computes a tensor of the images, or a layer with what is folded into its weights.

    Args:
        node: Name of the node.
        operator: Its ONNX operator.
        kind: What other steps may stand in for it: "layer", "activation", "pool", else its operator.
        tensor: What it makes: of a layer, after its batch normalisation and bias.
        shape: Of the tensor; None where a size is not known, and altogether where nothing is.
        weights: Of a layer, float32 (outputs, ...), times the factors of its batch normalisation.
    """

    node: str
    operator: str
    kind: str
    tensor: str
    shape: Shape | None
    weights: NDArray[np.float32] | None


class Graph:
    """An ONNX graph by its tensors: what makes each, what reads it, which are constants."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.stored = {one.name: one for one in model.graph.initializer}
        self.makers: dict[str, Any] = {
            name: node for node in model.graph.node for name in node.output if name
        }
        self.readers: dict[str, list[Any]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.inputs = [port.name for port in model.graph.input if port.name not in self.stored]
        self.fed = self._list_fed()
        self._values: dict[str, NDArray[Any] | None] = {}

    def _list_fed(self) -> set[str]:
        """The tensors that depend on the images, and not on their sizes alone."""
        fed = set(self.inputs)
        for node in self.model.graph.node:
            if node.op_type not in {"Shape", "Size"} and fed & set(node.input):
                fed |= set(node.output)
        return fed - {""}

    def read_constant(self, name: str) -> NDArray[Any] | None:
        """The value of a tensor that is stored, or computed of stored ones; None where it is neither."""
        if name not in self._values:
            self._values[name] = self._compute_constant(name)
        return self._values[name]

    def _compute_constant(self, name: str) -> NDArray[Any] | None:
        if name in self.stored:
            return numpy_helper.to_array(self.stored[name])
        node = self.makers.get(name)
        if node is None or name in self.fed or node.op_type in {"Shape", "Size"}:
            return None
        inputs = {}
        for one in filter(None, node.input):
            value = self.read_constant(one)
            if value is None or value.size > _LARGEST_CONSTANT:
                return None
            inputs[one] = value
        if node.op_type == "DequantizeLinear":
            return _dequantise([inputs[one] for one in node.input if one], read_attribute(node, "axis", 1))
        try:
            values: Any = ReferenceEvaluator(_wrap(node, self.model)).run(None, inputs)
        except _EVALUATOR_ERRORS:
            return None
        return np.asarray(values[list(node.output).index(name)])


def prepare_model(model: Any) -> Any:
    """A copy in float32, with functions inlined and a name of its own for each node, as in the file.

    What a float16 file rounds its weights to stays as it is; the graph between them computes in float32.
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    if prepared.functions:
        prepared = onnx.inliner.inline_local_functions(prepared)
    if has_half(prepared):
        _widen(prepared)
    return prepared


def has_half(model: Any) -> bool:
    """Whether weights are float16 or bfloat16."""
    return any(one.data_type in _HALVES for one in model.graph.initializer) or any(
        one.type == onnx.AttributeProto.TENSOR and one.t.data_type in _HALVES
        for node in model.graph.node
        for one in node.attribute
    )


def list_steps(graph: Graph) -> list[GraphStep]:
    """The steps that make float tensors of the images, and do more than move them."""
    kinds, shapes = _infer_ports(graph.model)
    steps, folded = [], set()
    for node in graph.model.graph.node:
        name = node.output[0]
        if name not in graph.fed or name in folded or kinds.get(name, onnx.TensorProto.FLOAT) not in _FLOATS:
            continue
        if node.op_type in PASSED_OVER:
            continue
        weights = _read_weights(graph, node) if node.op_type in LAYER_TYPES else None
        end = name
        if weights is not None:
            end, weights, within = _fold_factors(graph, name, weights)
            folded |= within
        kind = "layer" if weights is not None else _KINDS.get(node.op_type, node.op_type)
        steps.append(
            GraphStep(
                node=node.name or name,
                operator=node.op_type,
                kind=kind,
                tensor=end,
                shape=shapes.get(end),
                weights=weights,
            )
        )
    return steps


def read_attribute(node: Any, name: str, default: Any) -> Any:
    """The value of a node's attribute, or the default."""
    return next((onnx.helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def _wrap(node: Any, model: Any) -> Any:
    """A model of one node."""
    ports = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.input if name]
    ends = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name]
    return onnx.helper.make_model(
        onnx.helper.make_graph([node], "constant", ports, ends), opset_imports=model.opset_import
    )


def _dequantise(values: list[NDArray[Any]], axis: int) -> NDArray[Any]:
    quantised, scale = values[:2]
    zero = values[2] if len(values) > 2 else np.zeros((), quantised.dtype)
    if scale.ndim == 1 and quantised.ndim:
        shape = [-1 if place == axis % quantised.ndim else 1 for place in range(quantised.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.ndim else zero
    product: NDArray[Any] = (quantised.astype(np.float32) - zero.astype(np.float32)) * scale
    return product


def _read_weights(graph: Graph, node: Any) -> NDArray[np.float32] | None:
    """Of a layer, its outputs first; None for a product of two tensors of the images."""
    values = graph.read_constant(node.input[1])
    if values is None or not np.issubdtype(values.dtype, np.floating):
        return None
    weights = values.astype(np.float32)
    if node.op_type == "ConvTranspose":
        return np.ascontiguousarray(np.swapaxes(weights, 0, 1))
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and not read_attribute(node, "transB", 0)):
        weights = np.swapaxes(weights, -1, -2) if weights.ndim > 1 else weights
    return np.ascontiguousarray(weights)


def _fold_factors(
    graph: Graph, tensor: str, weights: NDArray[np.float32]
) -> tuple[str, NDArray[np.float32], set[str]]:
    """Go over the batch normalisation, factors and bias behind a layer, one for each output.

    Returns:
        The tensor behind them, the weights times the factors, and the tensors that are gone over.
    """
    within: set[str] = set()
    outputs = {port.name for port in graph.model.graph.output}
    ahead = tensor
    while ahead not in outputs and len(readers := graph.readers.get(ahead, [])) == 1:
        reader = readers[0]
        if reader.op_type not in QUANTISER_TYPES:
            factors = _read_factors(graph, reader, ahead, len(weights))
            if factors is None:
                break
            weights = (weights * factors.reshape(-1, *[1] * (weights.ndim - 1))).astype(np.float32)
            tensor = reader.output[0]
            within.add(tensor)
        ahead = reader.output[0]
    return tensor, weights, within


def _read_factors(graph: Graph, node: Any, tensor: str, count: int) -> NDArray[Any] | None:
    """By what a node multiplies each output of the layer before it; None where it does anything else."""
    if node.op_type == "BatchNormalization":
        gamma, _beta, _mean, variance = (graph.read_constant(name) for name in node.input[1:5])
        if gamma is None or variance is None:
            return None
        factors: NDArray[Any] = gamma / np.sqrt(variance + read_attribute(node, "epsilon", 1e-5))
        return factors
    if node.op_type not in {"Add", "Mul", "Sub", "Div"} or len(node.input) != 2:
        return None
    place = list(node.input).index(tensor)
    value = graph.read_constant(node.input[1 - place])
    if value is None or count < 2 or value.size != count or (place and node.op_type in {"Sub", "Div"}):
        return None
    if node.op_type in {"Add", "Sub"}:
        return np.ones(count)
    return value.ravel() if node.op_type == "Mul" else 1 / value.ravel()


def _infer_ports(model: Any) -> tuple[dict[str, int], dict[str, Shape]]:
    """The type and the shape of each tensor, as far as onnx infers them."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):  # then shapes are not known
        inferred = model
    kinds, shapes = {}, {}
    for port in [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]:
        kinds[port.name] = port.type.tensor_type.elem_type
        if port.type.tensor_type.HasField("shape"):
            shapes[port.name] = tuple(one.dim_value or None for one in port.type.tensor_type.shape.dim)
    return kinds, shapes


def _widen(model: Any) -> None:
    """Make every float16 and bfloat16 tensor a float32 one, in place."""
    for tensor in model.graph.initializer:
        _widen_tensor(tensor)
    for port in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if port.type.tensor_type.elem_type in _HALVES:
            port.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for node in model.graph.node:
        for one in node.attribute:
            if one.type == onnx.AttributeProto.TENSOR:
                _widen_tensor(one.t)
            if node.op_type == "Cast" and one.name == "to" and one.i in _HALVES:
                one.i = onnx.TensorProto.FLOAT


def _widen_tensor(tensor: Any) -> None:
    if tensor.data_type in _HALVES:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def fits(one: Shape | None, other: Shape | None) -> bool:
    """Whether two shapes can be of one tensor; the first size, of the images, is not compared."""
    if one is None or other is None:
        return True
    if len(one) != len(other):
        return False
    return all(a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True))
