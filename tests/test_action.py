"""The action for GitHub: its script runs, and the workflow shown gives it what it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay_command import run_here

ROOT = Path(__file__).resolve().parents[1]
yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return read


def test_the_workflow_shown_gives_the_action_what_it_takes(action: dict[str, Any]) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/how-to/pipeline.md").read_text(), re.DOTALL)
    steps = yaml.safe_load(text)["jobs"]["model"]["steps"]
    (given,) = [step["with"] for step in steps if step.get("uses", "").startswith("assay-bench/")]
    assert set(given) <= set(action["inputs"])
    needed = {name for name, told in action["inputs"].items() if told.get("required")}
    assert needed <= set(given)


def test_no_value_of_a_user_stands_in_the_actions_scripts(action: dict[str, Any]) -> None:
    scripts = [step["run"] for step in action["runs"]["steps"]]
    assert [script for script in scripts if "${{" in script] == []


@pytest.mark.slow
def test_the_action_adds_a_run_judges_it_and_writes_page_and_junit_file(
    action: dict[str, Any], colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    compiled = tmp_path / "compiled"
    assert run_here("compile", colour_onnx, compiled, "-q").returncode == 0
    done = run_here("evaluate", compiled, "--images", photographs, "-o", tmp_path / "-a run", "-q")
    assert done.returncode == 0, done.stderr
    script = action["runs"]["steps"][-1]["run"]
    inputs = {name: f"{told.get('default', '')}" for name, told in action["inputs"].items()}
    inputs |= {"runs": "-a run\n", "note": "-abc", "gates": "no-worse-than:baseline\n\ntop1>=0.001\n"}
    variables = {f"INPUT_{name.upper().replace('-', '_')}": value for name, value in inputs.items()}
    (tmp_path / "bin").mkdir()
    assay = tmp_path / "bin" / "assay"
    assay.write_text(f'#!/bin/sh\nexec {sys.executable} -m assay "$@"\n')
    assay.chmod(0o755)
    env = os.environ | variables | {"PATH": f"{assay.parent}:{os.environ['PATH']}"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in {1, 6}, done.stderr  # no baseline yet; the classifier may have no hit at all
    assert "no baseline of" in (tmp_path / "gates.xml").read_text()
    assert "<svg" in (tmp_path / "history.html").read_text()
