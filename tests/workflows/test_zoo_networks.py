"""`assay run` on networks of timm, torchvision and transformers with seeded weights, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from assay.models.read_record import read_model_record
from conftest import RunAssay
from seeded_network import draw_seeded_weights

TIMM = (
    "resnet18.a1_in1k",
    "convnext_atto.d2_in1k",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "efficientnet_b0.ra_in1k",
    "mobilenetv3_small_100.lamb_in1k",
    "resnext50_32x4d.a1_in1k",
)


def load_photographs(golden: Path, side: int) -> Tensor:
    """24 photographs, roughly normalised: statistics of drawn images would let the logits explode."""
    paths = sorted((golden / "images").iterdir())[:24]
    pixels = [np.asarray(Image.open(path).convert("RGB").resize((side, side))) for path in paths]
    images: Tensor = (torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255 - 0.45) / 0.225
    return images


def save_seeded(network: Any, golden: Path, side: int, path: Path) -> Path:
    draw_seeded_weights(network, load_photographs(golden, side))
    save_file(network.state_dict(), path)
    return path


def give_images(golden: Path) -> list[object]:
    return [
        "--images",
        golden / "images",
        "--labels",
        golden / "labels.txt",
        "--limit",
        "8",
        "--batch-size",
        "1",
    ]


@pytest.mark.slow
# an int8 run evaluates and measures the float network too; the last, the slowest, is run in float alone
@pytest.mark.parametrize(
    ("precision", "name"), [*(("int8", name) for name in TIMM[:-1]), ("fp32", TIMM[2]), ("fp32", TIMM[-1])]
)
def test_a_network_of_timm_runs_beside_its_published_figure(
    run_assay: RunAssay, golden: Path, tmp_path: Path, precision: str, name: str
) -> None:
    import timm

    record = read_model_record(f"timm/{name}")
    network = timm.create_model(name.partition(".")[0])
    weights = save_seeded(network, golden, record.input.height, tmp_path / "w.safetensors")
    given = ["--model", f"timm/{name}", "--weights", weights, "--precision", precision, *give_images(golden)]
    given += ["--calibration-count", "16"] if precision == "int8" else ["--compare-with-torch"]
    done = run_assay("run", *given, "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["logit_parity"]["max_difference"] <= 1e-3
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["accuracy"]["scored_count"] == 8
    if precision == "fp32":  # in int8, seeded weights say nothing of trained ones
        assert metrics["agreement"]["same_top1_count"] == 8
    assert metrics["agreement"]["image_count"] == 8
    rows = json.loads((tmp_path / "run" / "benchmark.json").read_text())["rows"]
    assert {row["precision"] for row in rows} == {"fp32", precision}
    top1_percent = record.published_accuracy[0].top1_percent
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"results-imagenet.csv ({name})" in report
    assert f"{top1_percent:.3f}".rstrip("0") in report


@pytest.mark.slow
def test_a_network_of_torchvision_runs_beside_its_published_figure(
    run_assay: RunAssay, golden: Path, tmp_path: Path
) -> None:
    import torchvision

    weights = save_seeded(torchvision.models.resnet18(), golden, 224, tmp_path / "w.safetensors")
    model = ["--model", "torchvision/resnet18:IMAGENET1K_V1", "--weights", weights, "--compare-with-torch"]
    done = run_assay("run", *model, *give_images(golden), "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["agreement"]["same_top1_count"] == 8
    assert "69.758" in (tmp_path / "run" / "report.md").read_text()  # torchvision's documentation


@pytest.mark.slow
def test_a_folder_of_transformers_runs_in_int8_with_its_class_names(
    run_assay: RunAssay, golden: Path, tmp_path: Path
) -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        id2label={number: f"kind {number}" for number in range(1000)},
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessorPil(size=64).save_pretrained(tmp_path / "vit")
    given = ["--precision", "int8", "--calibration-count", "16", *give_images(golden)]
    done = run_assay("run", "--weights", tmp_path / "vit", *given, "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert "kind " in (tmp_path / "run" / "report.md").read_text()
