"""`assay runs`: a line for each run of a folder, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from assay.engines.engine import CompileChoice
from assay.errors import UsageError
from assay.images.request import ImageRequest
from assay.measure.speed.repeats import RepeatPlan
from assay.report.tables.run_list import make_run_table
from assay.runs.place import RunPlace
from assay.runs.results_file import Manifest, read_result, write_result
from assay.workflows.full_run import RunRequest, run_all
from assay.workflows.results.list_runs import list_runs


@pytest.fixture
def folder(colour_onnx: Path, photographs: Path, tmp_path: Path) -> Path:
    """A finished run, one that was killed before it predicted anything, a damaged one, and what is no run."""
    request = RunRequest(
        weights=colour_onnx,
        images=ImageRequest(path=photographs),
        compile=CompileChoice(engine="constant"),
        speed=RepeatPlan(batch_sizes=(1, 2), seconds=0.01),
    )
    runs = tmp_path / "runs"
    run_all(request, RunPlace(path=runs / "finished"))
    manifest = read_result(runs / "finished", Manifest)
    assert manifest is not None
    (runs / "killed").mkdir()
    killed = msgspec.structs.replace(manifest, status="running", started="2999-01-01T00:00:00.000+00:00")
    write_result(runs / "killed", killed)
    (runs / "damaged").mkdir()
    (runs / "damaged" / "manifest.json").write_text("{")
    (runs / "notes").mkdir()
    return runs


def test_runs_are_listed_the_newest_first_and_a_damaged_one_does_not_hide_the_others(folder: Path) -> None:
    found = list_runs(folder)
    assert [(run.path.name, run.status) for run in found] == [
        ("killed", "running"),
        ("finished", "finished"),
        ("damaged", "unreadable"),
    ]
    assert found[1].accuracy is not None
    assert found[1].best is not None
    assert (found[1].accuracy.image_count, found[1].best.clock) == (12, "call")
    table = make_run_table(found, folder)
    rows = {row[0]: row for row in table.rows}
    assert rows["finished"][4].endswith("% of 12")
    assert "!" in rows["finished"][5]  # measured for a moment
    assert rows["killed"][4] == "not finished"
    assert rows["damaged"][4] == "unreadable"
    assert list_runs(folder / "finished") == [found[1]]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path, "no runs there"), (tmp_path / "gone", "no such folder")):
        with pytest.raises(UsageError, match=complaint):
            list_runs(path)
