"""Which tensors of two ONNX graphs of one network are the same: by names, weights, and order and shape.

Only a match that both graphs compute from the same other matches is kept, so that a piece of one graph can
be put in the place of the other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.convert.graph_steps import Graph, GraphStep, fits, list_steps

LEAST_COSINE = 0.9  # of one layer in two exports; of two layers it was at most 0.15
_ROW = 4  # weights of an output, from which their direction says something


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A tensor that both graphs compute, its name in each, and the step that makes it in each."""

    reference: str
    other: str
    step: GraphStep
    other_step: GraphStep

    @property
    def node(self) -> str:
        """The reference's node that makes it."""
        return self.step.node

    @property
    def operator(self) -> str:
        """The operator of that node."""
        return self.step.operator


def match_tensors(reference: Any, other: Any) -> list[Compared]:
    """The tensors of images that both graphs compute, in the reference's order.

    Args:
        reference: A ModelProto.
        other: A ModelProto of the same network.
    """
    graphs = Graph(reference), Graph(other)
    steps, others = (list_steps(graph) for graph in graphs)
    pairs = _match_by_names(steps, others)
    pairs |= _match_by_weights(steps, others, pairs)
    pairs |= _match_by_order(steps, others, pairs)
    pairs = _keep_consistent(steps, others, pairs, graphs)
    return [
        Compared(
            reference=steps[one].tensor,
            other=others[pairs[one]].tensor,
            step=steps[one],
            other_step=others[pairs[one]],
        )
        for one in sorted(pairs)
    ]


def compute_cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How far two layers' weights point the same way, whatever factor each output has: 0 to 1."""
    rows, others = one.reshape(len(one), -1), other.reshape(len(other), -1)
    if rows.shape[1] < _ROW:
        rows, others = rows.reshape(1, -1), others.reshape(1, -1)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        cosines = np.abs((rows * others).sum(axis=1)) / np.where(norms > 0, norms, 1)
    return float(np.nan_to_num(cosines.mean()))


def _could_be(one: GraphStep, other: GraphStep) -> bool:
    if one.kind != other.kind or not fits(one.shape, other.shape):
        return False
    return one.weights is None or other.weights is None or one.weights.shape == other.weights.shape


def _compare(one: GraphStep, other: GraphStep) -> float:
    """The cosine of two layers' weights; 0 for other steps."""
    if one.weights is None or other.weights is None or one.weights.shape != other.weights.shape:
        return 0.0
    return compute_cosine(one.weights, other.weights)


def _match_by_names(steps: Sequence[GraphStep], others: Sequence[GraphStep]) -> dict[int, int]:
    """Steps whose tensors have the same name; none, where the weights of most layers say otherwise."""
    places = {step.tensor: place for place, step in enumerate(others)}
    found = {
        place: places[step.tensor]
        for place, step in enumerate(steps)
        if step.tensor in places and _could_be(step, others[places[step.tensor]])
    }
    layers = [one for one in found if steps[one].kind == "layer"]
    unlike = {one for one in layers if _compare(steps[one], others[found[one]]) < LEAST_COSINE}
    if 2 * len(unlike) > len(layers):
        return {}
    elsewhere = {one for one in unlike if any(_compare(steps[one], each) >= LEAST_COSINE for each in others)}
    return {one: other for one, other in found.items() if one not in elsewhere}


def _match_by_weights(
    steps: Sequence[GraphStep], others: Sequence[GraphStep], pairs: Mapping[int, int]
) -> dict[int, int]:
    """Layers whose weights point the same way, each the other's best."""
    taken = set(pairs.values())
    left = [place for place, step in enumerate(steps) if step.kind == "layer" and place not in pairs]
    free = [place for place, step in enumerate(others) if step.kind == "layer" and place not in taken]
    cosines = np.array([[_compare(steps[one], others[other]) for other in free] for one in left])
    found = {}
    for row, one in enumerate(left):
        if not free:
            break
        best = int(cosines[row].argmax())
        if cosines[row, best] >= LEAST_COSINE and int(cosines[:, best].argmax()) == row:
            found[one] = free[best]
    return found


def _match_by_order(
    steps: Sequence[GraphStep], others: Sequence[GraphStep], pairs: Mapping[int, int]
) -> dict[int, int]:
    """What is left between two matches, in order, where it is of one kind and shape."""
    found: dict[int, int] = {}
    start, begin = 0, 0
    for one, other in [*_list_ascending(pairs), (len(steps), len(others))]:
        taken = set(pairs.values())
        left = [place for place in range(start, one) if place not in pairs]
        free = [place for place in range(begin, other) if place not in taken]
        found |= _align(steps, others, left, free)
        start, begin = one + 1, other + 1
    return found


def _list_ascending(pairs: Mapping[int, int]) -> list[tuple[int, int]]:
    """The most pairs that stand in the same order in both graphs."""
    ordered = sorted(pairs.items())
    lengths, before = [1] * len(ordered), [-1] * len(ordered)
    for place, (_, other) in enumerate(ordered):
        for earlier in range(place):
            if ordered[earlier][1] < other and lengths[earlier] >= lengths[place]:
                lengths[place], before[place] = lengths[earlier] + 1, earlier
    chain = []
    place = int(np.argmax(lengths)) if ordered else -1
    while place >= 0:
        chain.append(ordered[place])
        place = before[place]
    return chain[::-1]


def _align(
    steps: Sequence[GraphStep], others: Sequence[GraphStep], left: Sequence[int], free: Sequence[int]
) -> dict[int, int]:
    """The best pairs that cross nowhere (Needleman and Wunsch, without a cost of gaps)."""
    best = np.zeros((len(left) + 1, len(free) + 1))
    for row in range(len(left) - 1, -1, -1):
        for column in range(len(free) - 1, -1, -1):
            score = _score(steps[left[row]], others[free[column]])
            paired = best[row + 1, column + 1] + score if score else 0.0
            best[row, column] = max(best[row + 1, column], best[row, column + 1], paired)
    found, row, column = {}, 0, 0
    while row < len(left) and column < len(free):
        score = _score(steps[left[row]], others[free[column]])
        if score and best[row, column] == best[row + 1, column + 1] + score:
            found[left[row]] = free[column]
            row, column = row + 1, column + 1
        elif best[row, column] == best[row + 1, column]:
            row += 1
        else:
            column += 1
    return found


def _score(one: GraphStep, other: GraphStep) -> float:
    if not _could_be(one, other):
        return 0.0
    return 2.0 if one.operator == other.operator else 1.0


def _keep_consistent(
    steps: Sequence[GraphStep],
    others: Sequence[GraphStep],
    pairs: dict[int, int],
    graphs: tuple[Graph, Graph],
) -> dict[int, int]:
    """The pairs without those that the two graphs compute from different matches."""
    pairs = dict(pairs)
    while pairs:
        names = {steps[one].tensor: others[other].tensor for one, other in pairs.items()}
        names |= dict(zip(graphs[0].inputs, graphs[1].inputs, strict=False))
        backward = {name: one for one, name in names.items()}
        places = {steps[one].tensor: one for one in pairs}
        doubtful: set[int] = set()
        for one, other in pairs.items():
            borders = find_borders(graphs[0], steps[one].tensor, names)
            there = {backward[name] for name in find_borders(graphs[1], others[other].tensor, backward)}
            if borders != there:
                doubtful = {one} | {places[name] for name in borders ^ there if name in places}
                break
        if not doubtful:
            return pairs
        del pairs[min(doubtful, key=lambda one: (_rate(steps[one], others[pairs[one]]), -one))]
    return pairs


def _rate(one: GraphStep, other: GraphStep) -> float:
    """How sure a match is."""
    named = one.tensor == other.tensor
    return 4 * _compare(one, other) + 2 * named + (one.operator == other.operator)


def find_borders(graph: Graph, tensor: str, matched: Mapping[str, str]) -> set[str]:
    """The nearest matched tensors, and inputs, that a tensor is made of."""
    found: set[str] = set()
    waiting, seen = [tensor], set()
    while waiting:
        node = graph.makers.get(waiting.pop())
        for name in node.input if node is not None else ():
            if name in matched:
                found.add(name)
            elif name not in seen and name in graph.fed:
                seen.add(name)
                waiting.append(name)
    return found
