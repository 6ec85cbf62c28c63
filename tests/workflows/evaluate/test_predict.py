"""A session that dies costs its shard, not the night."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.arrays import Batch, Logits
from assay.engines.catalog import load_for_evaluation
from assay.engines.engine import Session
from assay.errors import EngineError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.sources import index_images
from assay.models.record import ModelRecord
from assay.runs.folder import RunFolder, open_run_folder
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.workflows.evaluate import evaluate as evaluating
from assay.workflows.evaluate.evaluate import EvaluateOptions, evaluate_model
from assay.workflows.models.compile import compile_model
from compiling import resolve_choice
from session_double import SessionDouble


class DyingSession(SessionDouble):
    """Stands in for a runtime that fails: passes calls on, but for those of the numbers given."""

    calls = 0

    def __init__(self, session: Session, failing: set[int]) -> None:
        self._session = session
        self.description = session.description
        self._failing = failing

    def run(self, images: Batch) -> Logits:
        DyingSession.calls += 1
        if DyingSession.calls in self._failing:
            raise EngineError(f"the device was lost in call {DyingSession.calls}")
        return self._session.run(images)

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def compiled(colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path) -> Path:
    options = resolve_choice(se_resnext50, engine="constant")
    compile_model(colour_onnx, tmp_path / "compiled", options, overwrite=False, listener=SILENT)
    return tmp_path / "compiled"


def evaluate(
    compiled: Path, photographs: Path, tmp_path: Path, failing: set[int], monkeypatch: pytest.MonkeyPatch
) -> RunFolder:
    """Evaluate twelve images in shards of two, one call each; calls of some numbers fail."""
    DyingSession.calls = 0

    def load(path: Path) -> DyingSession:
        return DyingSession(load_for_evaluation(path), failing)

    monkeypatch.setattr(evaluating, "load_for_evaluation", load)
    place = RunPlace(path=tmp_path / "run", mode="resume")
    with open_run_folder(place, "m", "constant", SILENT) as run:
        index = index_images(photographs, IMAGENET_CLASSES)
        evaluate_model(compiled, index, run, EvaluateOptions(shard_size=2))
    return run


def list_shards(tmp_path: Path) -> list[int]:
    return sorted(int(shard.stem[-5:]) for shard in (tmp_path / "run" / "predictions").iterdir())


def test_the_other_shards_are_computed_and_kept(
    compiled: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match=r"2 shards failed; the others are kept\. .*lost in call 2"):
        evaluate(compiled, photographs, tmp_path, {2, 5}, monkeypatch)
    assert len(list_shards(tmp_path)) == 4
    manifest = (tmp_path / "run" / "manifest.json").read_text()
    assert '"part-00001.parquet": "the device was lost in call 2"' in manifest


def test_resume_computes_the_shards_that_failed(
    compiled: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError):
        evaluate(compiled, photographs, tmp_path, {2}, monkeypatch)
    run = evaluate(compiled, photographs, tmp_path, set(), monkeypatch)
    assert list_shards(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert (run.manifest.status, run.manifest.failed_shards) == ("finished", {})


def test_a_device_that_is_gone_for_good_ends_the_run(
    compiled: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="3 shards failed, 3 were not tried"):
        evaluate(compiled, photographs, tmp_path, set(range(1, 100)), monkeypatch)
    assert DyingSession.calls <= 3 * 3  # three sessions, and three batches under way at once


def test_a_run_without_failures_opens_one_session_and_times_all_of_its_images(
    compiled: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0

    def load(path: Path) -> Session:
        nonlocal opened
        opened += 1
        return load_for_evaluation(path)

    monkeypatch.setattr(evaluating, "load_for_evaluation", load)
    index = index_images(photographs, IMAGENET_CLASSES)
    with open_run_folder(RunPlace(path=tmp_path / "run"), "m", "constant", SILENT) as run:
        evaluate_model(compiled, index, run, EvaluateOptions(shard_size=1, batch_size=1))
    [speed] = run.manifest.pipelines.values()
    assert (opened, speed.image_count) == (1, len(index.images))
