"""`assay run` on folders in Hugging Face's form: no record by hand, real weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

from conftest import RunAssay

CONFIG = {
    "architecture": "tf_efficientnet_lite0",
    "num_classes": 1000,
    "pretrained_cfg": {
        "tag": "in1k",
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "num_classes": 1000,
    },
}


def read_weights(onnx_path: Path) -> dict[str, torch.Tensor]:
    """The weights of an ONNX file, its BatchNorms folded, by timm's names, whose order is the same."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0")
    weights: dict[str, torch.Tensor] = network.state_dict()
    modules = list(network.named_modules())
    convolutions = [name for name, module in modules if isinstance(module, torch.nn.Conv2d)]
    norms = [(name, module.eps) for name, module in modules if isinstance(module, torch.nn.BatchNorm2d)]
    graph = onnx.load(onnx_path).graph
    held = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    for name, (norm, eps), node in zip(convolutions, norms, nodes, strict=True):
        weights[f"{name}.weight"], bias = (held[each] for each in node.input[1:])
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = torch.ones_like(bias), bias
        weights[f"{norm}.running_mean"] = torch.zeros_like(bias)
        weights[f"{norm}.running_var"] = torch.ones_like(bias) - eps
    (last,) = (node for node in graph.node if node.op_type == "Gemm")
    weights["classifier.weight"], weights["classifier.bias"] = (held[each] for each in last.input[1:])
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("form", ["timm weights", "an ONNX file"])
def test_efficientnet_lite0_is_right_on_89_of_100_without_a_record(
    run_assay: RunAssay, golden: Path, tmp_path: Path, form: str
) -> None:
    folder = tmp_path / "lite0"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    source = golden / "efficientnet_lite0" / "model.onnx"
    if form == "timm weights":
        save_file(read_weights(source), folder / "model.safetensors")
    else:
        shutil.copyfile(source, folder / "model.onnx")
    given = ["--images", golden / "images", "--labels", golden / "labels.txt", "--batch-size", "4"]
    done = run_assay("run", "--weights", folder, *given, "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["accuracy"]["top1"]["hits"], metrics["accuracy"]["top5"]["hits"]) == (89, 96)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["model"]["name"] == "timm/tf_efficientnet_lite0.in1k"
    assert "preprocessing.mean = [0.5, 0.5, 0.5] (config.json: pretrained_cfg)" in done.stderr
