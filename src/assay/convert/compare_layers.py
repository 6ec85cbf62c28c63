"""What differs in a layer of two ONNX graphs of one network: weights, ranges, operator, or none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.convert.graph_steps import Graph, read_attribute
from assay.convert.match_tensors import Compared

_FACTORS_OF_NOISE = 5.0  # how far per-channel factors lie above what rounding of the weights makes
_LEAST_FACTOR = 2e-3  # of rounding to float16 it is 1e-4
_MOST_REST = 0.1  # of the other's squares, that factors may leave over
_LEAST_SQUARES = 1e-2  # of the mean, for an output to count: int8 rounds the weights of others to nothing


@dataclass(frozen=True, kw_only=True)
class WeightDifference:
    """How a layer's weights differ from the reference's.

    Args:
        sqnr_db: Signal to error of the weights, in dB; None where they are equal, or not comparable.
        factors: The least and the largest factor of an output's weights, where they are more than rounding.
        is_permuted: Whether the same values stand in other places.
    """

    sqnr_db: float | None = None
    factors: tuple[float, float] | None = None
    is_permuted: bool = False


def compute_ratio(signal: float, error: float) -> float | None:
    """Signal over error in dB; None without either, or where one is not finite."""
    if not (np.isfinite(error) and np.isfinite(signal) and error > 0 and signal > 0):
        return None
    return float(10 * np.log10(signal / error))


def compare_layer_weights(one: Compared) -> WeightDifference:
    """How the weights of a layer differ; of other steps they do not."""
    own, other = one.step.weights, one.other_step.weights
    if own is None or other is None or own.shape != other.shape:
        return WeightDifference()
    rows, others = (each.reshape(len(each), -1).astype(np.float64) for each in (own, other))
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = compute_ratio(float((rows**2).sum()), float(((others - rows) ** 2).sum()))
        factors = _measure_factors(rows, others)
    is_permuted = ratio is not None and bool(np.allclose(np.sort(own.ravel()), np.sort(other.ravel())))
    return WeightDifference(sqnr_db=ratio, factors=factors, is_permuted=is_permuted)


def _measure_factors(rows: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float] | None:
    """The least and the largest factor of a row that counts; None where they are no more than rounding.

    Args:
        rows: The reference's weights, (outputs, weights of each).
        others: The other's.
    """
    squares = (rows**2).sum(axis=1)
    counts = squares > _LEAST_SQUARES * squares.mean()
    if rows.shape[1] < 2 or not counts.any() or not np.isfinite(others).all():
        return None
    rows, others, squares = rows[counts], others[counts], squares[counts]
    factors = (others * rows).sum(axis=1) / squares
    rest = ((others - factors[:, None] * rows) ** 2).sum()
    moved = float(np.sqrt((squares * (factors - 1) ** 2).sum() / squares.sum()))
    noise = float(np.sqrt(rest / (rows.shape[1] - 1) / squares.sum()))
    if rest >= _MOST_REST * (others**2).sum():
        return None  # replaced, permuted or zeroed: no factor makes one of the other
    if moved <= max(_LEAST_FACTOR, _FACTORS_OF_NOISE * noise):
        return None
    return float(factors.min()), float(factors.max())


def describe_operator_change(one: Compared, graphs: tuple[Graph, Graph]) -> str:
    """What the step's operator was and is, with its attributes and constants, where they differ; else empty.

    Args:
        one: The step in both graphs.
        graphs: The reference's and the other's.
    """
    if one.step.kind == "layer" and one.other_step.operator != one.step.operator:
        return ""  # a matrix product and a Gemm are the same arithmetic
    texts = [_describe(graph, name) for graph, name in zip(graphs, (one.reference, one.other), strict=True)]
    return "" if texts[0] == texts[1] else f"{texts[0]} -> {texts[1]}"


def _describe(graph: Graph, tensor: str) -> str:
    node = graph.makers[tensor]
    values = [graph.read_constant(name) for name in node.input]
    settings = [f"{value.item():g}" for value in values if value is not None and value.size == 1]
    attributes = sorted(
        f"{one.name}={_write(read_attribute(node, one.name, None))}"
        for one in node.attribute
        if one.name in {"alpha", "beta", "gamma", "epsilon", "min", "max", "approximate"}
    )
    return f"{node.op_type}({', '.join([*settings, *attributes])})"


def _write(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def list_quantisers(graph: Graph, tensor: str, borders: set[str]) -> list[str]:
    """What the quantisers of images' tensors read, between a tensor and the borders of what it is made of."""
    found: dict[str, None] = {}
    waiting, seen = [tensor], set(borders)
    while waiting:
        node = graph.makers.get(waiting.pop())
        for name in node.input if node is not None else ():
            if node is not None and node.op_type == "QuantizeLinear" and name in graph.fed:
                found[name] = None
            if name not in seen and name in graph.fed:
                seen.add(name)
                waiting.append(name)
    return list(found)
