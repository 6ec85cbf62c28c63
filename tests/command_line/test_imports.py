"""What a command has imported when its work is done: nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assay.engines.engine import CompileChoice
from assay.images.request import ImageRequest
from assay.measure.speed.repeats import RepeatPlan
from assay.runs.place import RunPlace
from assay.workflows.full_run import RunRequest, run_all

RUNTIMES = {"openvino", "onnxruntime", "onnx", "torch", "nncf", "ray", "timm", "torchvision", "transformers"}
WORK = """
import sys
from assay.command_line.app import main
status = main(sys.argv[1:])
print("modules", status, *sys.modules)
"""


def list_imported(*arguments: object) -> set[str]:
    """The modules that a fresh process holds after a command that went well."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    status, *modules = done.stdout.rpartition("modules ")[2].split()
    assert status == "0", done.stderr
    return set(modules)


@pytest.fixture
def finished_run(colour_onnx: Path, photographs: Path, tmp_path: Path) -> Path:
    request = RunRequest(
        weights=colour_onnx,
        images=ImageRequest(path=photographs),
        compile=CompileChoice(engine="constant"),
        speed=RepeatPlan(batch_sizes=(2,), seconds=0.01),
    )
    return run_all(request, RunPlace(path=tmp_path / "run")).folder


def test_scoring_text_results_imports_no_runtime_no_pandas_and_no_image_library(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cat_0.txt").write_text("0.5 " * 999 + "0.7 \n")
    (tmp_path / "labels.txt").write_text("cat.jpg 999\n")
    imported = list_imported("score", tmp_path / "results", tmp_path / "labels.txt", tmp_path)
    assert "numpy" in imported
    assert not imported & (RUNTIMES | {"pandas", "pyarrow", "PIL", "rich", "jinja2", "scipy"})


def test_listing_the_models_computes_nothing() -> None:
    imported = list_imported("models")
    assert not imported & (RUNTIMES | {"numpy", "pandas", "pyarrow", "PIL", "jinja2", "scipy"})


@pytest.mark.parametrize("command", ["report", "compare"])
def test_reading_finished_runs_imports_no_runtime(command: str, finished_run: Path) -> None:
    imported = list_imported(command, finished_run, *([finished_run] if command == "compare" else []))
    assert "pyarrow" in imported
    assert not imported & (RUNTIMES | {"pandas", "scipy"})


def test_listing_a_folder_imports_no_file_systems_and_no_readers_of_other_forms(photographs: Path) -> None:
    imported = list_imported("index", photographs, "-o", photographs.with_suffix(".arrow"))
    assert "pyarrow" in imported
    assert not imported & (
        RUNTIMES | {"pandas", "scipy", "PIL", "indexed_gzip", "pyarrow.fs", "numpy.random"}
    )


def test_listing_runs_imports_no_image_library(finished_run: Path) -> None:
    imported = list_imported("runs", finished_run.parent)
    assert not imported & (RUNTIMES | {"pandas", "scipy", "PIL", "simplejpeg"})
