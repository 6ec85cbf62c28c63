"""`run --cascade` from Python: quantised, composed, evaluated at two batch sizes, resumed, compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from assay.engines.cascade.record import read_cascade_json
from assay.engines.engine import CompileChoice
from assay.errors import BadImagesError
from assay.images.calibration import CalibrationOptions
from assay.images.drawn_images import draw_labelled_images
from assay.images.label_files import LabelOptions
from assay.images.request import ImageRequest
from assay.measure.speed.repeats import RepeatPlan
from assay.runs.folder import RunResult
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.runs.stored import StoredRun
from assay.workflows.agree.agree import AgreeRequest, measure_matrix
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.full_run import RunRequest, run_all
from assay.workflows.models.cascade import CascadeModels, compose_cascade
from assay.workflows.results.bundle import write_bundle
from assay.workflows.results.compare import compare_runs
from assay.workflows.results.verify import differs, verify_bundle
from colour_classifier import make_colour_classifier

IMAGE_COUNT = 48


def ask(folder: Path, image_count: int) -> RunRequest:
    """The whole chain on drawn images, at two batch sizes."""
    images, labels = folder / "images", folder / "labels.txt"
    draw_labelled_images(images, labels, image_count=image_count, seed=5)
    return RunRequest(
        weights=make_colour_classifier(folder / "colour.onnx"),
        images=ImageRequest(path=images, labels=LabelOptions(path=labels)),
        calibration=CalibrationOptions(image_count=4),
        compile=CompileChoice(precision="int8", settings={"inner_batch": "1", "streams": "1"}),  # not tuned
        evaluation=EvaluateOptions(shard_size=20),
        speed=RepeatPlan(batch_sizes=(1, 8), seconds=0.01),
        accuracy_batches=(1, 8),
        cascade_max_different=5,
    )


@pytest.fixture(scope="module")
def request_of(tmp_path_factory: pytest.TempPathFactory) -> RunRequest:
    return ask(tmp_path_factory.mktemp("cascade_run"), IMAGE_COUNT)


@pytest.fixture(scope="module")
def done(request_of: RunRequest, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run_all(request_of, RunPlace(path=tmp_path_factory.mktemp("run") / "run"))


def test_all_three_are_evaluated_and_measured_on_the_same_images(done: RunResult) -> None:
    assert done.metrics is not None
    assert done.benchmark is not None
    parts = done.metrics.cascade
    assert isinstance(parts, list)
    assert [(part.role, part.image_count) for part in parts] == [
        ("fast", IMAGE_COUNT),
        ("exact", IMAGE_COUNT),
        ("cascade", IMAGE_COUNT),
    ]
    assert parts[1].same_top1_count == IMAGE_COUNT
    assert {row.precision for row in done.benchmark.rows} == {"int8+fp32", "int8", "fp32"}
    answered_by = done.metrics.answered_by
    assert isinstance(answered_by, dict)
    assert sum(answered_by.values()) == IMAGE_COUNT


def test_a_cascade_is_evaluated_at_each_batch_size(done: RunResult) -> None:
    assert done.metrics is not None
    first, other = done.metrics.batches
    assert (first.batch_size, first.full_call_count, other.batch_size) == (1, IMAGE_COUNT, 8)
    assert other.same is not None
    assert (other.same.image_count, other.same.same_top1_count) == (IMAGE_COUNT, IMAGE_COUNT)
    stored = StoredRun.open(done.folder)
    assert [row.answered_by for row in stored.read_batch(8)] == [
        row.answered_by for row in stored.predictions
    ]
    assert "all answers are the same" in (done.folder / "report.md").read_text()


@pytest.mark.slow
def test_what_is_missing_of_a_cascades_run_is_computed_again_and_its_bundle_verifies(
    done: RunResult, request_of: RunRequest, tmp_path: Path
) -> None:
    shutil.copytree(done.folder, tmp_path / "run")
    for folder in ("predictions", "fast", "reference", "batches/8"):
        (tmp_path / "run" / folder / "part-00001.parquet").unlink()
    again = run_all(request_of, RunPlace(path=tmp_path / "run", mode="resume"))
    assert again.metrics == done.metrics
    write_bundle(tmp_path / "run", tmp_path / "run.zip")
    differing = [check.what for check in verify_bundle(tmp_path / "run.zip") if differs(check)]
    assert not [what for what in differing if "timings" not in what]  # those of a moment are not checked


def test_a_cascades_run_is_compared_with_that_of_its_exact_model_and_what_differs_is_named(
    done: RunResult, request_of: RunRequest, tmp_path: Path
) -> None:
    exact = run_evaluation(
        done.folder / "float", request_of.images, EvaluateOptions(), RunPlace(path=tmp_path / "exact")
    )
    compared = compare_runs(exact.folder, done.folder)
    assert done.metrics is not None
    parts = done.metrics.cascade
    assert isinstance(parts, list)
    changed = IMAGE_COUNT - parts[2].same_top1_count
    flips = (*compared.comparison.lost, *compared.comparison.won, *compared.comparison.changed)
    assert len(flips) == changed
    named = {each.what: (each.reference, each.candidate) for each in compared.differences}
    assert named["precision"] == ("fp32", "int8+fp32")
    threshold = read_cascade_json(done.folder / "cascade").threshold
    assert named["cascade"] == ("none", f"threshold {threshold:.6g}")


def hand_on_everything(folder: Path, target: Path) -> Path:
    """The cascade with another threshold, above all margins."""
    record = msgspec.structs.replace(read_cascade_json(folder), threshold=1e6)
    compose_cascade(CascadeModels(fast_dir=folder / "fast", exact_dir=folder / "exact"), target, record)
    return target


def test_cascades_of_other_thresholds_are_other_models_in_the_agreement_matrix(
    done: RunResult, request_of: RunRequest, tmp_path: Path
) -> None:
    other = hand_on_everything(done.folder / "cascade", tmp_path / "other")
    request = AgreeRequest(images=request_of.images, batch_sizes=(1, 8))
    matrix = measure_matrix([done.folder / "cascade", other, done.folder / "float"], request, SILENT)
    assert not any(way.refusal for way in matrix.ways)
    same_model = {(cell.reference, cell.candidate) for cell in matrix.cells if cell.is_same_model}
    assert same_model == {("A", "B"), ("C", "D"), ("E", "F")}
    for one, exact in (("C", "E"), ("D", "F")):  # all are the exact model's answers
        cell = matrix.find(one, exact)
        assert cell is not None
        assert cell.answers.same_top1_count == IMAGE_COUNT
    repeated = [way.repeated for way in matrix.ways]
    assert all(call is not None and call.max_logit_difference == 0 for call in repeated)


def test_too_few_images_for_a_cascade_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match="39 images are too few"):
        run_all(ask(tmp_path, 39), RunPlace(path=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
