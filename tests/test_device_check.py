"""`scripts/device_check.sh`: its dry run; that it hides no failure; that the page shows what came back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "how-to" / "nvidia.md"
EVIDENCE = ROOT / "docs" / "evidence" / "nvidia-h200"
PRECISIONS = ("fp32", "fp16", "bf16")


def run_check(out: Path, *flags: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "device_check.sh", "-o", out, *flags],
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


def find_step(told: str, name: str) -> str:
    return next(line for line in told.splitlines() if name in line)


@pytest.mark.slow
def test_the_dry_run_passes_every_step_and_leaves_a_bundle(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--dry-run")
    assert done.returncode == 0, done.stdout + (tmp_path / "check.log").read_text()
    assert find_step(done.stdout, "contract of engines: cpu").startswith("passed")
    assert find_step(done.stdout, "verify the bundle of fp32").startswith("passed")
    assert (tmp_path / "cpu-fp32.zip").exists()
    summary = (tmp_path / "summary.md").read_text()
    assert "| 20 of 20 |" in summary, "the torch engine on the CPU is its own reference"
    assert "- fp32: bit-identical logits" in summary


def test_a_step_that_fails_is_named_and_hides_none_of_the_others(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--dry-run", python="/bin/false")
    assert done.returncode == 1
    steps = re.findall(r"^FAILED   (.*): exit status 1 ", (tmp_path / "check.log").read_text(), re.MULTILINE)
    assert steps[:3] == ["build the C extension", "the machine", "contract of engines: cpu"]
    assert steps[-1] == "summary"
    assert re.search(rf"\b{len(steps)} steps failed", done.stderr)
    assert f"FAILED   {steps[0]}" in (tmp_path / "summary.md").read_text()


def test_steps_that_the_time_does_not_reach_are_named_and_fail_it(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--limit", "0", python="/bin/true")
    assert done.returncode == 1
    assert "NOT RUN  contract of engines: cuda: the 0 s are over" in done.stdout
    assert find_step(done.stdout, "summary").startswith("passed")


@pytest.mark.parametrize("flags", [["--what"], ["--wheels", "no/such/folder"]])
def test_a_wrong_call_is_refused(tmp_path: Path, flags: list[str]) -> None:
    done = run_check(tmp_path, *flags)
    assert done.returncode == 2
    assert "device_check.sh -o OUT" in done.stderr


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_page_shows_what_the_bundle_holds(precision: str) -> None:
    with zipfile.ZipFile(EVIDENCE / f"{precision}.zip") as bundle:
        rows = json.loads(bundle.read("benchmark.json"))["rows"]
        metrics = json.loads(bundle.read("metrics.json"))
    shown = re.findall(
        rf"^\| {precision} \| (\d+) \| ([\d,]+) \| ([\d.]+) \| ([\d,]+) \|", PAGE.read_text(), re.M
    )
    measured: dict[int, dict[str, tuple[float, float]]] = {}
    for row in rows:
        figures = (row["images_per_second"]["median"], row["latency_ms"]["p50"])
        measured.setdefault(row["batch_size"], {})[row["clock"]] = figures
    assert shown == [
        (str(size), f"{clocks['device'][0]:,.0f}", f"{clocks['device'][1]:.2f}", f"{clocks['call'][0]:,.0f}")
        for size, clocks in measured.items()
    ]
    same, difference = metrics["agreement"]["same_top1_count"], metrics["agreement"]["max_logit_difference"]
    assert f"| {precision} | 132 of 160 | {same} of 160 | {difference:.2g} |" in PAGE.read_text()
