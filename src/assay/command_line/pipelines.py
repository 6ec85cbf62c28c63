"""What a command's gates say, written where pipelines read it: a JUnit file, and GitHub's step summary."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from assay.command_line.streams import write_to_stderr
from assay.errors import UsageError, shorten

if TYPE_CHECKING:
    from assay.command_line.flags import ShowFlags
    from assay.command_line.outcome import Outcome

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


def run_with_reports(name: str, command: Callable[[], Outcome], flags: ShowFlags) -> Outcome:
    """Run a command, and write what its gates say.

    The JUnit file says from the start that the command did not finish, so that one of an earlier run is never
    taken for this one's.

    Args:
        name: The command, such as `assay run`.
        command: Runs it.
        flags: The command's; those of commands without gates have no `junit`.

    Raises:
        UsageError: --junit without --gate, or over a file that is no JUnit file.
    """
    junit: Path | None = getattr(flags, "junit", None)
    if junit is None:
        outcome = command()
    else:
        _check_junit(junit, flags)
        outcome = _write_junit(junit, name, command, flags)
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary and outcome.gates:
        _append_summary(Path(summary), name, outcome)
    return outcome


def _check_junit(path: Path, flags: ShowFlags) -> None:
    if not getattr(flags, "gate", ()):
        raise UsageError("--junit has no effect without --gate", hint="leave it out, or add a gate")
    if path.exists() and not (path.is_file() and _is_junit(path)):
        raise UsageError(f"{path} is there and is no JUnit file", hint="give --junit another name")


def _is_junit(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return not head or (head.startswith(b"<?xml") and b"<testsuite" in head)


def _write_junit(path: Path, name: str, command: Callable[[], Outcome], flags: ShowFlags) -> Outcome:
    from assay.files import write_file
    from assay.report.junit import render_junit, render_unfinished

    write_file(path, render_unfinished(name, "the command did not finish"))
    try:
        outcome = command()
    except Exception as error:
        write_file(path, render_unfinished(name, f"{error}"))
        raise
    write_file(path, render_junit(name, outcome.gates, getattr(flags, "cannot_tell", None)))
    return outcome


def _append_summary(path: Path, name: str, outcome: Outcome) -> None:
    """Append to the step's summary; where that fails the result stands all the same, and stderr says so."""
    from assay.report.junit import render_summary

    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render_summary(name, outcome.gates, outcome.sentences))
    except OSError as error:
        write_to_stderr(f"assay: {SUMMARY_VARIABLE}={path} takes no summary: {shorten(error)}\n")
