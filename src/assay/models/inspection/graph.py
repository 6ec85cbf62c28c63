"""A network as nodes and tensors, whatever file it came from: what the reading of front and tail walks on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.models.onnx_file import Port

SKIPPED = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"})
"""Operators that leave the values of a tensor, and their order in it, as they are."""
QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear", "FakeQuantize"})


@dataclass(frozen=True, kw_only=True)
class GraphTensor:
    """A constant of the network.

    Args:
        name: What nodes call it.
        dtype: NumPy's name of its type.
        shape: Its axes.
        values: What it holds, where that is a few numbers; empty for weights.
        file: The file whose bytes hold it, little-endian; None where they are written otherwise.
        offset: Where in that file they begin.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: tuple[float, ...] = ()
    file: Path | None = None
    offset: int = 0

    def read(self) -> NDArray[Any] | None:
        """What it holds, in its shape; None where the file does not hold it as plain bytes."""
        if self.values:
            return np.array(self.values, self.dtype).reshape(self.shape)
        if self.file is None or self.dtype not in {"int8", "uint8", "float32"}:
            return None
        kind = np.dtype(self.dtype).newbyteorder("<")
        if not self.file.is_file() or self.offset + self.size * kind.itemsize > self.file.stat().st_size:
            return None
        return np.fromfile(self.file, kind, self.size, offset=self.offset).reshape(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One step of the network; operators are called as in ONNX.

    Args:
        name: Its own; may be empty.
        operator: What it computes; one that is not ONNX's own with its domain, `com.microsoft.FusedConv`.
        inputs: Names of the tensors it reads; empty for one that is left out.
        outputs: Names of the tensors it makes.
        numbers: Its attributes that are a number or several.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def get(self, attribute: str) -> tuple[float, ...] | None:
        """The attribute's numbers; None where it is not given."""
        return self.numbers.get(attribute)


@dataclass(frozen=True, kw_only=True)
class ModelGraph:
    """A network, and who made its file.

    Args:
        form: "ONNX" or "OpenVINO IR".
        version: Of the form; `opset` is that of ONNX's own operators, 0 elsewhere.
        producer: Who wrote it, with version; empty where that is not said.
        name: Of the graph.
        inputs: What has to be fed.
        outputs: What it gives.
        nodes: In an order in which they can be computed.
        tensors: Its constants by name.
        functions: Names of operators that the file itself defines.
        metadata: What tools noted in the file, by key.
    """

    form: str
    version: str
    opset: int
    producer: str
    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[GraphNode, ...]
    tensors: Mapping[str, GraphTensor]
    functions: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def consumers(self) -> dict[str, list[GraphNode]]:
        """The nodes that read each tensor, and make something of it."""
        found: dict[str, list[GraphNode]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs) if node.outputs else ():
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def makers(self) -> dict[str, GraphNode]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def depths(self) -> dict[str, int]:
        """How many nodes stand on the longest path to each tensor; 0 for inputs and constants."""
        found: dict[str, int] = {}
        for node in self.nodes:
            depth = 1 + max((found.get(name, 0) for name in node.inputs), default=0)
            found |= dict.fromkeys(node.outputs, depth)
        return found

    def find_constant(self, name: str) -> GraphTensor | None:
        """The constant of that name, also where a node only hands it on, or dequantises it; None else."""
        for _ in range(len(self.nodes) + 1):
            if name in self.tensors:
                return self.tensors[name]
            maker = self.makers.get(name)
            if maker is None or maker.operator not in SKIPPED | QUANTISING or not maker.inputs:
                return None
            name = maker.inputs[0]
        return None
