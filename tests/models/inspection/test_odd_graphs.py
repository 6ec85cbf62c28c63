"""Graphs that no exporter writes end in facts or in one clear message, never in a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import BadModelError
from assay.models.inspection.draw_record import draw_record
from assay.models.inspection.facts import read_network_facts
from assay.models.inspection.record_text import write_drawn_record
from onnx_forms import FLOAT, make_node, write_classifier

OPERATORS = [
    "Sub",
    "Div",
    "Mul",
    "Add",
    "Transpose",
    "Gather",
    "Slice",
    "Split",
    "Concat",
    "Reshape",
    "Softmax",
    "Conv",
]
TENSORS = ["x", "seen", "c", "flat", "logits", "p", "three", "zero", ""]


@st.composite
def draw_graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """The small classifier with nodes exchanged, rewired and cut at random."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_classifier(
            Path(folder) / "m.onnx",
            front=[make_node("Sub", ["x", "three"], ["seen"])],
            back=[make_node("Softmax", ["logits"], ["p"])],
            outputs={"p": (FLOAT, draw(st.sampled_from([None, ["n", 1000], [], ["n", 1000, 1, 1]])))},
            shape=draw(st.sampled_from([None, ["n", 3, 8, 8], ["n", 8, 8, 3], ["n", "a", "b", "c"], [3]])),
            constants={"three": np.ones((3, 1, 1), np.float32), "zero": np.float32(0)},
        )
        model = onnx.load(str(path))
    for node in model.graph.node:
        if draw(st.booleans()):
            continue
        node.op_type = draw(st.sampled_from([node.op_type, *OPERATORS]))
        for names in (node.input, node.output):
            changed = draw(st.lists(st.sampled_from([*names, *TENSORS]), max_size=4))
            del names[:]
            names.extend(changed)
    return model


@given(model=draw_graphs())
@settings(max_examples=80, deadline=None)
def test_any_graph_gives_facts_and_a_record_or_one_message(model: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            lines = draw_record(read_network_facts(path))
        except BadModelError:
            return
        assert "schema_version = 1" in write_drawn_record(lines, "odd.onnx")
