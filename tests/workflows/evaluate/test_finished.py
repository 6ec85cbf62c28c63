"""A finished run that is resumed: left as it is while nothing changed, computed again where something did."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assay.errors import UsageError
from assay.images.request import ImageRequest
from assay.models.record import ModelRecord
from assay.runs.folder import RunResult
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.workflows.cluster.merge import merge_run
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.models.compile import compile_model
from compiling import resolve_choice

Evaluate = Callable[[], RunResult]


@pytest.fixture
def evaluate(colour_onnx: Path, se_resnext50: ModelRecord, photographs: Path, tmp_path: Path) -> Evaluate:
    options = resolve_choice(se_resnext50, engine="constant")
    compile_model(colour_onnx, tmp_path / "compiled", options, overwrite=False, listener=SILENT)
    place = RunPlace(path=tmp_path / "run", mode="resume")

    def run() -> RunResult:
        images = ImageRequest(path=photographs)
        return run_evaluation(tmp_path / "compiled", images, EvaluateOptions(shard_size=4), place)

    return run


def stamp(folder: Path) -> dict[str, int]:
    files = (folder / name for name in ("manifest.json", "metrics.json", "report.md", "report.html"))
    return {file.name: file.stat().st_mtime_ns for file in files if file.name != "manifest.json"} | {
        "manifest": hash((folder / "manifest.json").read_bytes())
    }


def test_a_finished_run_is_left_as_it_is(evaluate: Evaluate, tmp_path: Path) -> None:
    first = evaluate()
    before = stamp(tmp_path / "run")
    again = evaluate()
    assert again.metrics == first.metrics
    assert stamp(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["metrics.json", "report.md", "predictions/part-00001.parquet"])
def test_what_was_changed_or_removed_of_a_finished_run_is_made_again(
    name: str, evaluate: Evaluate, tmp_path: Path
) -> None:
    first = evaluate()
    file = tmp_path / "run" / name
    if name == "report.md":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes().replace(b"a", b"b", 1))
    changed = file.read_bytes() if file.exists() else b""
    again = evaluate()
    assert again.metrics == first.metrics
    assert file.read_bytes() != changed


def test_a_shard_whose_values_are_right_but_whose_bytes_are_not_is_noticed(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    first = evaluate()
    shard = tmp_path / "run" / "predictions" / "part-00001.parquet"
    table = pq.read_table(shard)
    pq.write_table(table, shard, compression="none")
    before = stamp(tmp_path / "run")
    again = evaluate()
    assert again.metrics == first.metrics
    assert stamp(tmp_path / "run") != before
    assert again.manifest.predictions_sha256 not in ("", first.manifest.predictions_sha256)


def test_a_shard_that_is_a_copy_of_another_is_no_part_of_a_run(evaluate: Evaluate, tmp_path: Path) -> None:
    first = evaluate()
    (tmp_path / "run" / "metrics.json").unlink()
    one, other = (tmp_path / "run" / "predictions" / f"part-0000{number}.parquet" for number in range(2))
    right = other.read_bytes()
    shutil.copy(one, other)
    with pytest.raises(UsageError, match=r"1 of 3 shards .*part-00001\.parquet"):
        merge_run(tmp_path / "run")
    again = evaluate()
    assert again.metrics == first.metrics
    assert other.read_bytes() == right
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert "part-00001.parquet is a copy of part-00000.parquet: it is computed again" in log
