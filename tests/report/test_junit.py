"""What pipelines read of gates: a JUnit file and GitHub's step summary, by the real command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import pytest

from assay.measure.gates import GateResult
from assay.report.junit import render_junit, render_summary
from conftest import RunAssay

GATES = [
    GateResult(gate="top1>=78.5", outcome="pass", reason="790 of 1,000 <b> & more"),
    GateResult(gate="smoke", outcome="fail", reason="a\x1b[2J | b\ud800"),
    GateResult(gate="published", outcome="cannot tell", reason="too few"),
]


@pytest.mark.parametrize(("cannot_tell", "tag"), [(None, "error"), ("pass", "skipped"), ("fail", "failure")])
def test_a_gate_is_a_test_case_and_cannot_tell_is_no_pass(
    cannot_tell: Literal["pass", "fail"] | None, tag: str
) -> None:
    suite = ElementTree.fromstring(render_junit("assay run", GATES, cannot_tell)).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["top1>=78.5", "smoke", "published"]
    assert [case.find("failure") is not None for case in cases[:2]] == [False, True]
    assert cases[2].find(tag) is not None
    counted = {name: int(suite.get(name, "")) for name in ("tests", "failures", "errors", "skipped")}
    plural = {"error": "errors", "skipped": "skipped", "failure": "failures"}[tag]
    expected = {"tests": 3, "failures": 1, "errors": 0, "skipped": 0}
    assert counted == expected | {plural: expected[plural] + 1}


def test_a_summary_is_one_row_for_each_gate_whatever_its_reason_holds() -> None:
    lines = render_summary("assay run", GATES, ["Top-1 79 %"]).splitlines()
    assert len([line for line in lines if line.startswith(("| ✅", "| ❌"))]) == 2
    assert "\x1b" not in "".join(lines)


def test_commands_with_gates_write_both_and_never_leave_an_older_file(
    run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    command = [
        "evaluate",
        colour_compiled,
        "--images",
        photographs,
        "-q",
        "--junit",
        tmp_path / "j.xml",
    ]
    env = {"GITHUB_STEP_SUMMARY": str(summary)}
    done = run_assay(*command, "-o", tmp_path / "run", "--gate", "top1>=99.5", env=env)
    assert done.returncode == 1, done.stderr
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()
    assert summary.read_text().startswith("before\n### assay evaluate\n")
    assert "❌ fail | top1>=99.5" in summary.read_text()
    again = run_assay(*command, "-o", tmp_path / "run", "--gate", "top1>=99.5")
    assert again.returncode == 2
    assert 'errors="1"' in (tmp_path / "j.xml").read_text()
    assert "--overwrite" in (tmp_path / "j.xml").read_text()


def test_a_junit_file_over_something_else_or_without_a_gate_is_refused(
    run_assay: RunAssay, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    command = ["evaluate", "compiled", "--images", "val", "--junit"]
    assert run_assay(*command, tmp_path / "notes.txt", "--gate", "smoke").returncode == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert "--gate" in run_assay(*command, tmp_path / "new.xml").stderr
