"""An engine that shows no inner tensors is cut in two until the layer is found that it computes wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from assay.convert.cut import cut_head, cut_tail, list_cuts
from assay.convert.graph_steps import prepare_model
from assay.engines.ascend.engine import AscendEngine
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import CompileChoice, CompileOptions
from assay.engines.openvino.engine import OpenVinoEngine
from assay.engines.openvino.tensors import compute_outputs
from assay.runs.listener import SILENT
from assay.workflows.diagnose import bisect_engine as module
from assay.workflows.diagnose.bisect_engine import bisect_engine
from convert.test_twin_graph import make_network
from pattern_network import RECORD

IMAGES = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)


def damage_file(source: Path, layer: str) -> None:
    """Turn the sign of a layer's weights, where the file holds them."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == f"{layer}.weight":
            values = -numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, source)


class WrongEngine(OpenVinoEngine):
    """Computes one layer with weights of its own."""

    layer = "third"

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        damage_file(source, self.layer)
        return super().compile(source, compiled_dir, options)


class WrongChip(AscendEngine):
    """The same on a chip."""

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        damage_file(source, "second")
        return super().compile(source, compiled_dir, options)


@pytest.mark.parametrize("layer", ["first", "third", "fourth"])
def test_the_layer_that_an_engine_computes_wrongly_is_named(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = WrongEngine()
    monkeypatch.setattr(WrongEngine, "layer", layer)
    monkeypatch.setattr(module, "find_engine", lambda _name: engine)
    settings = {"streams": "1", "inner_batch": "1", "normalise": "on_host"}
    options = engine.resolve(CompileChoice(settings=settings), make_record())
    found = bisect_engine(prepare_model(make_network()), options, IMAGES, IMAGES, SILENT)
    assert found.layer == f"{layer}_conv"
    assert found.is_monotone
    assert found.share > 0.9


@pytest.mark.slow
@pytest.mark.usefixtures("ascend_tools")
def test_a_chip_that_shows_no_inner_tensors_is_bisected_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = WrongChip()
    monkeypatch.setattr(module, "find_engine", lambda _name: engine)
    chosen = CompileChoice(
        engine="ascend", precision="fp16", batch_size=4, settings={"soc_version": "Ascend310P3"}
    )
    options = engine.resolve(chosen, make_record())
    found = bisect_engine(prepare_model(make_network()), options, IMAGES, IMAGES, SILENT)
    assert found.layer == "second_conv"


def make_record() -> Any:
    """The pattern network's record, with the sizes of this one."""
    tensor = msgspec.structs.replace(RECORD.input, name="image", height=16, width=16)
    crop = msgspec.structs.replace(RECORD.preprocessing, crop_size=16)
    output = msgspec.structs.replace(RECORD.output, name="class", class_count=10)
    return msgspec.structs.replace(RECORD, input=tensor, preprocessing=crop, output=output)


def test_head_and_tail_make_the_whole() -> None:
    model = prepare_model(make_network())
    expected = compute_outputs(model.SerializeToString(), IMAGES)["class"]
    cuts = list_cuts(model)
    assert [node for _, node in cuts][:3] == ["first_conv", "first_act", "second_conv"]
    for tensor, _node in cuts[:-1:4]:
        head, count = cut_head(model, tensor, "class")
        onnx.checker.check_model(head)
        flat = compute_outputs(head.SerializeToString(), IMAGES)["class"]
        assert flat.shape == (len(IMAGES), count)
        tail = cut_tail(model, tensor)
        onnx.checker.check_model(tail)
        assert compute_outputs(tail.SerializeToString(), flat)["class"] == pytest.approx(expected, abs=1e-5)
