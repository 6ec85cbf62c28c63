"""When the demo makes its files anew, and when it goes on with those that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import UsageError
from assay.runs.listener import Listener
from assay.runs.place import RunPlace
from assay.workflows import demo
from assay.workflows.demo import WEIGHTS_FILE, run_demo
from assay.workflows.full_run import RunRequest

Steps = list[str]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """What the demo does; drawing, fitting and the run are replaced, since they take minutes."""
    taken: Steps = []

    def make_files_double(folder: Path, _listener: Listener) -> None:
        taken.append("files made")
        (folder / "held_out").mkdir(parents=True)
        (folder / WEIGHTS_FILE).write_bytes(b"weights")

    def run_double(_request: RunRequest, place: RunPlace, _listener: Listener) -> None:
        taken.append(f"run: {place.mode}")
        if place.path is not None:
            place.path.mkdir(exist_ok=True)

    monkeypatch.setattr(demo, "make_files", make_files_double)
    monkeypatch.setattr(demo, "run_all", run_double)
    return taken


def test_a_demo_that_was_interrupted_while_it_ran_is_continued(tmp_path: Path, steps: Steps) -> None:
    run_demo(tmp_path / "demo")
    with pytest.raises(UsageError, match="holds a demo already\n  --resume continues it"):
        run_demo(tmp_path / "demo")
    run_demo(tmp_path / "demo", mode="resume")
    run_demo(tmp_path / "demo", mode="overwrite")
    assert steps == ["files made", "run: new", "run: resume", "files made", "run: new"]


def test_a_demo_that_was_interrupted_while_its_files_were_made_begins_again(
    tmp_path: Path, steps: Steps
) -> None:
    (tmp_path / "demo" / "training").mkdir(parents=True)
    run_demo(tmp_path / "demo", mode="resume")
    assert steps == ["files made", "run: new"]
    (tmp_path / "demo" / "run").rmdir()
    run_demo(tmp_path / "demo", mode="resume")
    assert steps[2:] == ["run: new"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, steps: Steps) -> None:
    (tmp_path / "thesis.tex").touch()
    for mode in ("new", "resume", "overwrite"):
        with pytest.raises(UsageError, match=r"holds something that is no demo: thesis\.tex"):
            run_demo(tmp_path, mode=mode)
    assert not steps
