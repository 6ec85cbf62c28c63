"""`--stop-when-certain`: what it cuts, what it says, and that it leaves good models alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.stats import binomtest

from assay.engines.compiled_model import read_compiled_json
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions
from assay.images.sources import index_images
from assay.measure.gates import parse_gate
from assay.models.record import ModelRecord
from assay.runs.folder import open_run_folder
from assay.runs.listener import SILENT
from assay.runs.place import REFERENCE_FOLDER, RunPlace
from assay.workflows.evaluate.evaluate import EvaluateOptions, evaluate_model, make_predictor
from assay.workflows.models.compile import compile_model
from compiling import resolve_choice
from conftest import RunAssay

COUNT = 600


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def link_images(folder: Path, count: int, name: str) -> Path:
    """One JPEG under many names: every model says the same of all of them."""
    folder.mkdir()
    pixels = np.random.default_rng(5).integers(0, 256, size=(226, 226, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder.parent / "one.jpg")
    for number in range(1, count + 1):
        os.link(folder.parent / "one.jpg", folder / name.format(number))
    return folder


@pytest.fixture(scope="module")
def workplace(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 images, a compiled classifier, and labels of which it has 79 % right: every one but each fifth."""
    folder = tmp_path_factory.mktemp("stop")
    images = link_images(folder / "images", COUNT, "image_{:04d}.jpg")
    done = run_assay("compile", colour_onnx, folder / "compiled", "-q")
    assert done.returncode == 0, done.stderr
    names = sorted(file.name for file in images.iterdir())
    write_labels(folder / "wrong.txt", dict.fromkeys(names, 0))
    done = run_assay(
        "evaluate", folder / "compiled", *give(folder, "wrong"), "--limit", 1, "-o", folder / "one"
    )
    row = pq.read_table(folder / "one" / "predictions" / "part-00000.parquet").to_pylist()[0]
    said = row["top_classes"][0]
    write_labels(folder / "wrong.txt", dict.fromkeys(names, row["top_classes"][0] - 1))
    write_labels(
        folder / "right.txt", {name: said if n % 100 < 79 else said - 1 for n, name in enumerate(names)}
    )
    return folder


def write_labels(path: Path, labels: dict[str, int]) -> None:
    path.write_text("".join(f"{name} {label}\n" for name, label in labels.items()))


def give(folder: Path, labels: str) -> list[object]:
    return ["--images", folder / "images", "--labels", folder / f"{labels}.txt", "-q"]


def test_a_broken_model_is_caught_in_the_sample_and_resume_completes_the_run(
    run_assay: RunAssay, workplace: Path, tmp_path: Path
) -> None:
    command = ["evaluate", workplace / "compiled", *give(workplace, "wrong"), "-o", tmp_path / "run"]
    done = run_assay(*command, "--gate", "smoke", "--stop-when-certain")
    assert done.returncode == 1, done.stderr
    assert "cut by --stop-when-certain after 16 of 600 images, drawn at random" in " ".join(
        done.stdout.split()
    )
    assert "Gate smoke: fail" in done.stdout
    manifest, metrics = (read_json(tmp_path / "run" / f"{name}.json") for name in ("manifest", "metrics"))
    assert manifest["early_stop"]["error"] == 0.001
    assert (metrics["accuracy"]["image_count"], metrics["stopped_from"]) == (16, COUNT)
    for page in ("report.md", "report.html"):
        assert "cut by --stop-when-certain after 16 of 600" in (tmp_path / "run" / page).read_text()
    assert run_assay("bundle", tmp_path / "run", tmp_path / "run.zip").returncode == 0
    assert run_assay("verify", tmp_path / "run.zip").returncode == 0
    done = run_assay("compare", tmp_path / "run", tmp_path / "run")
    assert done.returncode == 2
    assert "--resume" in done.stderr

    done = run_assay(*command, "--gate", "smoke", "--resume")
    assert done.returncode == 1, done.stderr
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert (metrics["accuracy"]["image_count"], metrics["stopped_from"]) == (COUNT, None)
    assert not (tmp_path / "run" / "sample").exists()


def test_where_the_sample_may_not_tell_the_bound_does_after_whole_parts(
    run_assay: RunAssay, workplace: Path, tmp_path: Path
) -> None:
    """79.06 is in the interval of 455 of 600 or more: it is out of reach when 146 are wrong."""
    given = [*give(workplace, "wrong"), "--gate", "smoke", "--stop-when-certain", "--stop-error", "1e-90"]
    given += ["--shard-size", 50, "-o", tmp_path / "run"]
    done = run_assay("evaluate", workplace / "compiled", *given)
    assert done.returncode == 1, done.stderr
    stop = read_json(tmp_path / "run" / "manifest.json")["early_stop"]
    assert (stop["image_count"], stop["by"], stop["error"], len(stop["parts"])) == (150, "bound", 0, 3)
    assert "no random sample, so their interval says nothing about the others" in " ".join(
        done.stdout.split()
    )
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 3
    assert run_assay("bundle", tmp_path / "run", tmp_path / "run.zip").returncode == 0
    assert run_assay("verify", tmp_path / "run.zip").returncode == 0
    again = run_assay("evaluate", workplace / "compiled", *given, "--resume")
    assert again.returncode == 1, again.stderr
    assert read_json(tmp_path / "run" / "manifest.json")["early_stop"]["image_count"] == 150


def test_a_good_model_is_run_whole_and_gives_the_files_of_an_undisturbed_run(
    run_assay: RunAssay, workplace: Path, tmp_path: Path
) -> None:
    command = ["evaluate", workplace / "compiled", *give(workplace, "right"), "--gate", "smoke"]
    done = run_assay(*command, "--stop-when-certain", "-o", tmp_path / "watched")
    assert done.returncode == 0, done.stderr
    done = run_assay(*command, "-o", tmp_path / "plain")
    assert done.returncode == 0, done.stderr
    one, other = (
        (tmp_path / name / "predictions" / "part-00000.parquet").read_bytes() for name in ("watched", "plain")
    )
    assert one == other
    assert not (tmp_path / "watched" / "sample").exists()
    assert read_json(tmp_path / "watched" / "manifest.json")["early_stop"] is None


def test_a_pass_is_certain_early_only_where_the_other_images_cannot_change_it(
    run_assay: RunAssay, workplace: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    given = [*give(workplace, "right"), "--gate", "smoke", "--stop-when-certain", "--shard-size", 10]
    done = run_assay("evaluate", workplace / "compiled", *given, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    stop = read_json(tmp_path / "run" / "manifest.json")["early_stop"]
    assert (stop["by"], stop["gates"][0]["outcome"]) == ("bound", "pass")
    hits = read_json(tmp_path / "run" / "metrics.json")["accuracy"]["top1"]["hits"]
    left = COUNT - stop["image_count"]
    assert 0 < left <= 40
    for end in (hits, hits + left):  # none of the others right, and all of them
        interval = binomtest(end, COUNT).proportion_ci(method="wilson")
        published = [each.top1_percent / 100 for each in se_resnext50.published_accuracy]
        assert any(interval.low <= share <= interval.high for share in published)


def test_a_full_run_is_cut_too_and_still_measures_the_speed(
    run_assay: RunAssay, workplace: Path, colour_onnx: Path, tmp_path: Path
) -> None:
    given = ["--weights", colour_onnx, *give(workplace, "wrong"), "--batch-size", "1"]
    gates = ["--gate", "smoke", "--gate", "throughput>=0.001@bs1", "--stop-when-certain"]
    done = run_assay("run", *given, *gates, "-o", tmp_path / "run", "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["accuracy"]["image_count"] == 16
    assert [gate["outcome"] for gate in document["gates"]] == ["fail", "cannot tell"]


@pytest.mark.slow
def test_a_broken_model_is_caught_on_the_whole_set_within_a_few_images(
    run_assay: RunAssay, workplace: Path, tmp_path: Path
) -> None:
    images = link_images(tmp_path / "val", 50_000, "ILSVRC2012_val_{:08d}.JPEG")
    gates = ["--gate", "published", "--gate", "mlperf-99.9", "--stop-when-certain", "-q"]
    done = run_assay("evaluate", workplace / "compiled", "--images", images, *gates, "-o", tmp_path / "run")
    assert done.returncode == 1, done.stderr
    stop = read_json(tmp_path / "run" / "manifest.json")["early_stop"]
    assert stop["image_count"] <= 32
    assert [gate["outcome"] for gate in stop["gates"]] == ["fail", "fail"]


def test_a_model_that_loses_all_is_caught_against_its_reference(
    workplace: Path, colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    options = resolve_choice(se_resnext50, engine="constant")
    constant = tmp_path / "constant"
    compile_model(colour_onnx, constant, options, overwrite=False, listener=SILENT)
    reference = make_predictor(
        workplace / "compiled", read_compiled_json(workplace / "compiled"), REFERENCE_FOLDER
    )
    labels = LabelOptions(path=workplace / "right.txt", trusted=True)
    index = index_images(workplace / "images", IMAGENET_CLASSES, labels)
    wanted = EvaluateOptions(gates=(parse_gate("paired:1"),), stop_error=0.001)
    with open_run_folder(RunPlace(path=tmp_path / "run"), "m", "e", SILENT) as run:
        metrics = evaluate_model(constant, index, run, wanted, reference)
    assert metrics is not None
    assert metrics.stopped_from == COUNT
    assert run.manifest.early_stop is not None
    assert run.manifest.early_stop.gates[0].outcome == "fail"
    assert not (tmp_path / "run" / REFERENCE_FOLDER).exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "needs a gate on accuracy"),
        (["--gate", "throughput>=1@bs1"], "needs a gate on accuracy"),
        (["--gate", "smoke", "--stop-error", "0"], "--stop-error is 0"),
        (["--gate", "smoke", "--shard", "1/2"], "exclude each other"),
    ],
)
def test_what_cannot_be_certain_early_is_refused(
    run_assay: RunAssay, workplace: Path, tmp_path: Path, given: list[str], message: str
) -> None:
    command = ["evaluate", workplace / "compiled", *give(workplace, "right"), "-o", tmp_path / "run"]
    done = run_assay(*command, "--stop-when-certain", *given)
    assert done.returncode == 2
    assert message in done.stderr
