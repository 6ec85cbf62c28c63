"""Standard streams that are closed, full or without a reader: no crash, and a status that tells the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = ["info", "bin", "{bins}", "{out}/list.info", "224", "224"]
BAD = ["info", "bin", "{out}/missing", "{out}/list.info", "224", "224"]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bins").mkdir()
    (tmp_path / "bins" / "a.bin").write_bytes(b"1234")
    return {"bins": str(tmp_path / "bins"), "out": str(tmp_path)}


def run_in_shell(
    arguments: list[str], places: dict[str, str], redirections: str
) -> subprocess.CompletedProcess[str]:
    words = [word.format(**places) for word in arguments]
    script = f'exec "$@" {redirections}'
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "assay", *words],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_no_crash(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "a bug in assay" not in done.stderr


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")]
)
def test_a_result_that_stdout_does_not_take_is_said_and_the_work_is_kept(
    places: dict[str, str], redirection: str, reason: str, json_flag: list[str]
) -> None:
    done = run_in_shell([*GOOD, *json_flag], places, redirection)
    assert done.returncode == 2
    assert f"the result cannot be written to stdout: {reason}" in done.stderr
    assert_no_crash(done)
    assert Path(places["out"], "list.info").read_text().endswith("a.bin 224 224\n")


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_an_error_keeps_its_status_where_stdout_takes_nothing(
    places: dict[str, str], redirection: str
) -> None:
    for json_flag in ([], ["--json"]):
        done = run_in_shell([*BAD, *json_flag], places, redirection)
        assert done.returncode == 5
        assert "missing cannot be listed" in done.stderr
        assert_no_crash(done)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_help_that_nobody_can_read_is_a_failure_and_no_crash(
    places: dict[str, str], redirection: str, arguments: list[str]
) -> None:
    done = run_in_shell(arguments, places, redirection)
    assert done.returncode == 2
    assert_no_crash(done)


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
def test_progress_and_input_that_are_not_there_change_neither_result_nor_status(
    places: dict[str, str], redirections: str
) -> None:
    done = run_in_shell([*GOOD, "--json"], places, redirections)
    assert done.returncode == 0
    assert json.loads(done.stdout)["lines"] == 1
    assert run_in_shell([*BAD, "--json"], places, redirections).returncode == 5


def test_with_every_stream_closed_the_work_is_done_and_the_status_says_that_nothing_was_shown(
    places: dict[str, str],
) -> None:
    assert run_in_shell(GOOD, places, "<&- >&- 2>&-").returncode == 2
    assert Path(places["out"], "list.info").read_text().endswith("a.bin 224 224\n")
    assert run_in_shell(BAD, places, "<&- >&- 2>&-").returncode == 5


def test_a_reader_that_has_seen_enough_is_no_failure(places: dict[str, str]) -> None:
    for arguments in (GOOD, [*GOOD, "--json"], ["--help"]):
        words = [word.format(**places) for word in arguments]
        script = 'set -o pipefail; "$@" | true'
        done = subprocess.run(
            ["bash", "-c", script, "bash", sys.executable, "-m", "assay", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_of_stderr_that_leaves_does_not_end_the_work(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for number in range(40):
        (tmp_path / "results" / f"a{number}_0.txt").write_text("0.5 1.5 \n")
    (tmp_path / "labels.txt").write_text("".join(f"a{number} 1\n" for number in range(40)))
    command = [
        sys.executable,
        "-m",
        "assay",
        "score",
        tmp_path / "results",
        tmp_path / "labels.txt",
        tmp_path,
    ]
    script = '{ "$@" 2>&3 3>&-; echo "status $?"; } 3> >(exec 0<&-; sleep 0.1)'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert "status 0" in done.stdout
    assert "40 of 40" in done.stdout
