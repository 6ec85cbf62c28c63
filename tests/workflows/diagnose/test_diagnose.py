from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from brightness_classifier import RECORD, make_brightness_classifier
from conftest import RunAssay


@pytest.fixture
def negative_photographs(tmp_path: Path) -> Path:
    """Forty photographs of a bright or a dark grey, in folders 0 and 1 the wrong way round."""
    rng = np.random.default_rng(3)
    for number in range(40):
        label = number % 2
        level = 190 if label else 60
        pixels = np.clip(rng.normal(level, 30, (256, 256, 3)), 0, 255).astype(np.uint8)
        folder = tmp_path / "photographs" / str(1 - label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photographs"


def test_reversed_labels_are_named_with_page_document_and_status_0(
    tmp_path: Path, run_assay: RunAssay, negative_photographs: Path
) -> None:
    model = make_brightness_classifier(tmp_path / "model.onnx")
    (tmp_path / "record.toml").write_text(RECORD)
    ran = run_assay(
        "diagnose",
        model,
        "--model",
        tmp_path / "record.toml",
        "--images",
        negative_photographs,
        "-o",
        tmp_path / "out",
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["record"]
    assert found["outcome"] == "explained"
    assert [(one["factor"], one["to"]) for one in found["changes"]] == [("label_order", "reversed")]
    assert (found["before"]["hits"], found["after"]["hits"]) == (0, 40)
    assert json.loads((tmp_path / "out" / "diagnosis.json").read_text())["record"] == found
    assert "One change explains it" in (tmp_path / "out" / "diagnosis.html").read_text()


def test_too_few_images_are_refused(tmp_path: Path, run_assay: RunAssay, negative_photographs: Path) -> None:
    model = make_brightness_classifier(tmp_path / "model.onnx")
    (tmp_path / "record.toml").write_text(RECORD)
    ran = run_assay(
        "diagnose", model, "--model", tmp_path / "record.toml", "--images", negative_photographs, "--limit", 9
    )
    assert ran.returncode == 2
    assert "a diagnosis needs 16 or more" in ran.stderr


def test_a_folder_that_is_no_model_is_refused(run_assay: RunAssay, negative_photographs: Path) -> None:
    ran = run_assay("diagnose", negative_photographs, "--images", negative_photographs)
    assert ran.returncode == 2
    assert "expected a run folder, a compiled model's folder, or an ONNX file" in ran.stderr


HALVES = "mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]"
NOT_SCALED = "mean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\npixel_scale = 1.0"


def test_a_network_is_compared_with_the_one_that_is_right(
    tmp_path: Path, run_assay: RunAssay, negative_photographs: Path
) -> None:
    right = make_brightness_classifier(tmp_path / "right.onnx")
    model = onnx.load(right)
    weights = model.graph.initializer[0]
    weights.CopyFrom(onnx.numpy_helper.from_array(np.array([[3, -3]] * 3, np.float32), weights.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    (tmp_path / "record.toml").write_text(RECORD)
    ran = run_assay(
        *("diagnose", tmp_path / "wrong.onnx", "--against", right, "--only", "network", "--json"),
        *("--model", tmp_path / "record.toml", "--images", negative_photographs),
    )
    found = json.loads(ran.stdout)
    assert found["record"] is None
    assert found["network"]["layers"] == ["head"]
    assert [one["same_count"] for one in found["network"]["repairs"]] == [0, 40]


def test_what_changed_images_have_in_common_is_looked_for(
    tmp_path: Path, run_assay: RunAssay, negative_photographs: Path
) -> None:
    model = make_brightness_classifier(tmp_path / "model.onnx")
    (tmp_path / "record.toml").write_text(RECORD)
    ran = run_assay(
        *("diagnose", model, "--against", model, "--only", "images", "--json"),
        *("--model", tmp_path / "record.toml", "--images", negative_photographs),
    )
    found = json.loads(ran.stdout)
    assert found["network"] is None
    assert (found["images"]["image_count"], found["images"]["changed"]) == (40, [])


def test_a_reference_with_another_name_of_its_output_is_compared_all_the_same(
    tmp_path: Path, run_assay: RunAssay, negative_photographs: Path
) -> None:
    model = make_brightness_classifier(tmp_path / "model.onnx")
    other = onnx.load(model)
    other.graph.output[0].name = other.graph.node[-1].output[0] = "logits"
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "record.toml").write_text(RECORD)
    ran = run_assay(
        *("diagnose", model, "--against", tmp_path / "other.onnx", "--only", "images", "--json"),
        *("--model", tmp_path / "record.toml", "--images", negative_photographs),
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["images"]["changed"] == []


@pytest.mark.parametrize("options", [("--expect", "nan"), ("--expect", "80", "--only", "network")])
def test_an_expectation_that_means_nothing_is_refused(
    tmp_path: Path, run_assay: RunAssay, options: tuple[str, ...]
) -> None:
    ran = run_assay("diagnose", tmp_path / "model.onnx", "--images", tmp_path, *options)
    assert ran.returncode == 2
    assert "--expect" in ran.stderr


def test_a_network_alone_needs_one_to_compare_it_with(tmp_path: Path, run_assay: RunAssay) -> None:
    ran = run_assay("diagnose", tmp_path / "model.onnx", "--images", tmp_path, "--only", "network")
    assert ran.returncode == 2
    assert "--against FLOAT.onnx" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({}, set()),
        ({'"RGB"': '"BGR"'}, {"colour_order"}),
        ({HALVES: NOT_SCALED}, {"mean", "std", "pixel_scale"}),
        ({"label": "+ 1"}, {"label_offset"}),
    ],
    ids=["right", "colour order", "not scaled", "labels from 1"],
)
def test_the_fault_in_a_real_networks_record_is_named(
    run_assay: RunAssay, golden: Path, lite0_toml: Path, changes: dict[str, str], factors: set[str]
) -> None:
    text, folder = lite0_toml.read_text(), lite0_toml.parent
    for old, new in changes.items():
        text = text.replace(old, new, 1)
    (folder / "record.toml").write_text(text)
    labels = [line.split() for line in (golden / "labels.txt").read_text().splitlines()]
    shift = 1 if "label" in changes else 0
    (folder / "labels.txt").write_text("".join(f"{name} {int(label) + shift}\n" for name, label in labels))
    ran = run_assay(
        *("diagnose", golden / "efficientnet_lite0" / "model.onnx", "--model", folder / "record.toml"),
        *("--images", golden / "images", "--labels", folder / "labels.txt", "--json"),
    )
    found: dict[str, Any] = json.loads(ran.stdout)["record"]
    assert {one["factor"] for one in found["changes"]} == factors
    assert found["outcome"] == ("explained" if factors else "nothing")
    assert found["after"]["hits"] == 89
