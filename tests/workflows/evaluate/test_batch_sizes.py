"""One run predicts its images at several batch sizes, and says whether the answers are the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from assay.engines.catalog import load_for_evaluation
from assay.engines.engine import CompileChoice, Session
from assay.engines.openvino.engine import OpenVinoEngine
from assay.errors import UsageError
from assay.images.request import ImageRequest
from assay.measure.accuracy.answers import BatchChoice
from assay.measure.gates import parse_gate
from assay.measure.speed.repeats import RepeatPlan
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.runs.stored import StoredRun
from assay.workflows.evaluate import evaluate
from assay.workflows.evaluate.batch_sizes import BatchEvaluation, plan_batches
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.full_run import RunRequest, run_all
from assay.workflows.results.bundle import write_bundle
from assay.workflows.results.verify import verify_bundle
from compiling import compile_with
from conftest import MakeRow
from session_double import WrongAtBatch


@pytest.fixture
def request_of(colour_onnx: Path, photographs: Path) -> RunRequest:
    return RunRequest(
        weights=colour_onnx,
        images=ImageRequest(path=photographs),
        speed=RepeatPlan(batch_sizes=(1, 2), seconds=0.01),
        accuracy_batches=(1, 8),
    )


def read_layout(folder: Path) -> list[list[str]]:
    """The measured rows of the original's accuracy table, from the report."""
    lines = (folder / "report.md").read_text().partition("## Accuracy by engine or chip")[2].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return [row for row in rows if row[-1] == "measured"]


def test_each_batch_size_has_its_row_and_all_answers_are_the_same(
    request_of: RunRequest, tmp_path: Path
) -> None:
    result = run_all(request_of, RunPlace(path=tmp_path / "run"))
    assert result.metrics is not None
    first, other = result.metrics.batches
    assert (first.batch_size, first.same, first.full_call_count) == (1, None, 12)
    assert (other.batch_size, other.full_call_count) == (8, 1)
    assert other.same is not None
    assert (other.same.image_count, other.same.same_top1_count, other.same.differing) == (12, 12, ())
    assert [row[1] for row in read_layout(result.folder)] == ["1", "8"]
    assert "all answers are the same" in (result.folder / "report.md").read_text()


def test_a_session_that_is_wrong_at_one_batch_size_is_found_image_by_image(
    request_of: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> Session:
        return WrongAtBatch(load_for_evaluation(path), 8)

    monkeypatch.setattr(evaluate, "load_for_evaluation", load)
    result = run_all(request_of, RunPlace(path=tmp_path / "run"))
    assert result.metrics is not None
    same = result.metrics.batches[1].same
    assert same is not None
    assert [flip.relative_path for flip in same.differing] == ["ILSVRC2012_val_00000001.JPEG"]
    assert same.differing[0].candidate_class == 0
    report = (result.folder / "report.md").read_text()
    assert "answers differ: same Top-1 on 11 of 12 images" in report
    assert "| ILSVRC2012_val_00000001.JPEG |" in report.partition("## Images whose answer depends")[2]


def test_the_best_batch_is_one_of_those_that_the_run_measured(request_of: RunRequest, tmp_path: Path) -> None:
    request = dataclasses.replace(request_of, accuracy_batches=(1, "best"))
    result = run_all(request, RunPlace(path=tmp_path / "run"))
    assert result.metrics is not None
    (best,) = [batch for batch in result.metrics.batches if batch.is_best]
    assert best.batch_size in (1, 2)
    assert not best.is_proven  # measured for a moment
    assert [row[1] for row in read_layout(result.folder)] == ["1", f"best ({best.batch_size}) !"]


def test_resuming_computes_what_is_missing_at_each_batch_size(request_of: RunRequest, tmp_path: Path) -> None:
    place = RunPlace(path=tmp_path / "run")
    request = dataclasses.replace(request_of, evaluation=EvaluateOptions(shard_size=8))
    before = run_all(request, place)
    shards = sorted((tmp_path / "run" / "batches" / "8").iterdir())
    kept = shards[0].stat().st_mtime_ns
    shards[1].unlink()
    after = run_all(request, dataclasses.replace(place, mode="resume"))
    assert sorted((tmp_path / "run" / "batches" / "8").iterdir()) == shards
    assert shards[0].stat().st_mtime_ns == kept
    assert after.metrics == before.metrics
    other = dataclasses.replace(request, accuracy_batches=(2,))
    with pytest.raises(UsageError, match=r"batch size \(1 before, 2 now\)"):
        run_all(other, dataclasses.replace(place, mode="resume"))


def test_a_bundle_holds_the_predictions_at_each_batch_size_and_verifies(
    request_of: RunRequest, tmp_path: Path
) -> None:
    folder = run_all(request_of, RunPlace(path=tmp_path / "run")).folder
    index = write_bundle(folder, tmp_path / "run.zip")
    assert "batches/8/part-00000.parquet" in index.files
    found = {check.what: check.found for check in verify_bundle(tmp_path / "run.zip")}
    assert found["answers at each batch size"] == "same"


@pytest.mark.parametrize(
    ("options", "asked", "message"),
    [
        (EvaluateOptions(shard_size=4), (1, 8), "--shard-size 4 is less than a batch of 8"),
        (EvaluateOptions(gates=(parse_gate("smoke"),), stop_error=0.01), (1,), "--stop-when-certain"),
        (EvaluateOptions(batch_size=2), (1,), "nor with a batch size"),
        (EvaluateOptions(), (0,), "expected 1 or more, or best"),
    ],
)
def test_batch_sizes_that_would_not_be_run_are_refused_before_any_work(
    request_of: RunRequest, tmp_path: Path, options: EvaluateOptions, asked: tuple[int, ...], message: str
) -> None:
    request = dataclasses.replace(request_of, evaluation=options, accuracy_batches=asked)
    with pytest.raises(UsageError, match=message):
        run_all(request, RunPlace(path=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_best_batch_of_1_is_one_evaluation_and_a_model_for_another_batch_is_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, make_row: MakeRow, tmp_path: Path
) -> None:
    any_size, fixed = tmp_path / "any", tmp_path / "fixed"
    for folder in (any_size, fixed):
        folder.mkdir()
    compile_with(OpenVinoEngine(), colour_onnx, any_size, se_resnext50)
    rows = [make_row(batch_size=1, rate=9.0), make_row(batch_size=4, rate=5.0)]
    planned = plan_batches((1, "best"), [any_size], rows, SILENT)
    expected = BatchChoice(batch_size=1, is_best=True, is_proven=rows[0].is_valid)
    assert planned == (BatchEvaluation(choice=expected, compiled_dir=any_size),)
    compile_with(OpenVinoEngine(), colour_onnx, fixed, se_resnext50, batch_size=4)
    with pytest.raises(UsageError, match="--accuracy-batch 1: the model was compiled for batches of 4"):
        plan_batches((1,), [fixed], (), SILENT)


def test_the_originals_two_tables_are_complete_on_a_chip_that_fixes_the_batch_size(
    request_of: RunRequest, tmp_path: Path, ascend_tools: Path
) -> None:
    assert ascend_tools.is_dir()
    choice = CompileChoice(engine="ascend", settings={"soc_version": "Ascend310P3"})
    request = dataclasses.replace(request_of, compile=choice, accuracy_batches=(1, "best"))
    run = StoredRun.open(run_all(request, RunPlace(path=tmp_path / "run")).folder)
    assert sum(batch.is_best for batch in run.metrics.batches) == 1
    assert run.metrics.batches[0].batch_size == 1
    assert all(batch.same is None or not batch.same.differing for batch in run.metrics.batches)
    speeds = (run.path / "report.md").read_text().partition("## Throughput by engine or chip")[2]
    assert "| best |" in speeds
    assert "device clock" in speeds.splitlines()[2]
