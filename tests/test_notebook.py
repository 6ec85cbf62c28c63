"""Runs in a notebook: what Jupyter shows of one, its answers as a table, its worst images."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import assay
from assay.images.drawn_images import draw_labelled_images
from conftest import RunAssay

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "notebook.ipynb"


@pytest.fixture(scope="module")
def folder(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in demo/run, over twelve drawn images."""
    folder = tmp_path_factory.mktemp("notebook")
    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=12, seed=3)
    given = ["--weights", colour_onnx, "--images", folder / "images", "--labels", folder / "labels.txt"]
    done = run_assay("run", *given, "--batch-size", "1", "--keep-logits", "-o", folder / "demo" / "run", "-q")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(folder: Path) -> assay.Run:
    return assay.open_run(folder / "demo" / "run")


def test_a_run_shows_its_verdict_and_two_charts(run: assay.Run) -> None:
    shown = run._repr_html_()
    assert shown.count('class="chart') == 2
    assert "of 12" in shown
    assert "<script" not in shown


def test_a_run_that_has_only_begun_is_shown_too(run: assay.Run, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes((run.path / "manifest.json").read_bytes())
    assert "<p" in assay.open_run(tmp_path)._repr_html_()


def test_answers_follow_from_all_logits(run: assay.Run) -> None:
    """Softmax, order and difference are computed here from the logits that were kept."""
    rows = run.predictions.to_pylist()
    assert len(rows) == 12
    for row in rows:
        first, second = sorted(row["logits"], reverse=True)[:2]
        assert row["class"] == row["logits"].index(first)
        total = math.fsum(math.exp(logit - first) for logit in row["logits"])
        assert row["probability"] == pytest.approx(1 / total, rel=1e-5)
        assert row["margin"] == pytest.approx(first - second, abs=1e-5)
        assert row["correct"] == (row["class"] == row["label"])
        assert row["class_name"] == run.class_names[row["class"]]
        assert row["label_name"] == run.class_names[row["label"]]
    assert run.accuracy is not None
    assert sum(row["correct"] for row in rows) == run.accuracy.top1.hits


def test_the_worst_images_are_the_surest_mistakes(run: assay.Run) -> None:
    wrong = [row for row in run.predictions.to_pylist() if not row["correct"]]
    surest = sorted(wrong, key=lambda row: -row["margin"])[:10]
    worst = run.worst(10)
    assert [picture.relative_path for picture in worst] == [row["relative_path"] for row in surest]
    assert worst._repr_html_().count("<img src=") == len(worst) == min(10, len(wrong)) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_of_the_documentation_runs(folder: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute()
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    assert [(one.count('class="chart'), "<img src=" in one) for one in shown] == [(2, False), (0, True)]
