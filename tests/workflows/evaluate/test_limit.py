"""`--limit` through the real command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import RunAssay


def test_a_run_cut_by_limit_says_so_everywhere_and_passes_no_gate_for_the_whole_set(
    run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    given = ["--images", photographs, "--limit", "5", "--shard-size", "2", "-q"]
    gates = ["--gate", "published", "--gate", "mlperf-99", "--gate", "mlperf-99.9"]
    done = run_assay("evaluate", colour_compiled, *given, *gates, "-o", tmp_path / "run")
    assert done.returncode == 6, done.stderr
    assert "Cut by --limit to 5 of 12 images" in done.stdout
    assert len(re.findall(r"^Gate .*: cannot tell", done.stdout, re.MULTILINE)) == 3
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    images = manifest["image_set"]
    assert (images["image_count"], images["limited_from"], metrics["limited_from"]) == (5, 12, 12)
    assert metrics["accuracy"]["image_count"] == 5
    for page in ("report.md", "report.html"):
        assert "Cut by --limit to 5 of 12 images" in (tmp_path / "run" / page).read_text()
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 3
    assert run_assay("bundle", tmp_path / "run", tmp_path / "run.zip").returncode == 0
    assert run_assay("verify", tmp_path / "run.zip").returncode == 0

    again = run_assay("evaluate", colour_compiled, *given, "-o", tmp_path / "run", "--resume")
    assert again.returncode == 0, again.stderr
    given[3] = "6"
    other = run_assay("evaluate", colour_compiled, *given, "-o", tmp_path / "run", "--resume")
    assert other.returncode == 2
    assert "the images, the labels changed" in other.stderr


def test_a_full_run_takes_a_limit_and_refuses_one_below_one(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    given = ["--weights", colour_onnx, "--images", photographs, "--batch-size", "1", "-q"]
    done = run_assay("run", *given, "--limit", "3", "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy"]["image_count"] == 3
    done = run_assay("run", *given, "--limit", "0", "-o", tmp_path / "none")
    assert done.returncode == 2
    assert "--limit is 0" in done.stderr
