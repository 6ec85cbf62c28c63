"""Runs one command to its end: shows its outcome or its error, and gives the exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from assay.command_line.streams import (
    STDOUT,
    describe_failure,
    drain,
    fill_closed_streams,
    write_to_stderr,
)
from assay.errors import AssayError, EngineError, UsageError, escape_controls, missing_package

if TYPE_CHECKING:
    from assay.command_line.outcome import Outcome

EXIT_BUG = 70
_NO_SPACE = "make room there, or write to another disk"
_NO_PERMISSION = "check who may read and write there"
_HINTS = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _NO_PERMISSION,
}
_EXTRAS = {
    "torch": "export",
    "onnx": "export",
    "safetensors": "export",
    "onnxruntime": "onnxruntime",
    "nncf": "quantize",
    "ray": "ray",
}


def run_to_end(run: Callable[[], int], *, is_process: bool) -> int:
    """Run something that gives an exit status, and return it, or another where stdout took no result.

    Where the process itself is interrupted it ends here: runtimes may still compute in threads of their own,
    and destroying those would abort it.

    Args:
        run: Shows its own errors, except one of stdout.
        is_process: Whether the process does nothing else.
    """
    closed = fill_closed_streams()
    status, failure = 0, None
    try:
        status = run()
        sys.stdout.flush()
    except OSError as error:
        failure = error
        drain(sys.stdout)
    if status and is_process:
        from assay.interrupts import EXIT_INTERRUPTED

        if status == EXIT_INTERRUPTED:
            os._exit(status)
    if failure is None and STDOUT not in closed:
        return status
    return _show_lost_result(failure, status)


def show_errors(run: Callable[[], int], *, as_json: bool) -> int:
    """Run something that gives an exit status; where it raises, show why, and return the error's status."""
    try:
        return run()
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            return _show_bug(as_json=as_json)
        return _show_error(missing_package(error.name, _EXTRAS[error.name]), as_json=as_json)
    except AssayError as error:
        return _show_error(error, as_json=as_json)
    except KeyboardInterrupt:
        from assay.interrupts import EXIT_INTERRUPTED, describe_interruption

        message, hint = describe_interruption()
        return _show_error(AssayError(message, hint=hint), as_json=as_json, exit_status=EXIT_INTERRUPTED)
    except (OSError, MemoryError) as error:
        return _show_error(_describe_shortage(error), as_json=as_json)
    except Exception:  # noqa: BLE001 - the last line of defence; the traceback is shown
        return _show_bug(as_json=as_json)


def show_outcome(command: Callable[[], Outcome], *, as_json: bool) -> int:
    """Run a command, which signals end, and write what it found to stdout; returns its exit status."""
    from assay.command_line.terminal import keep_stdout_for_result, write_document, write_lines
    from assay.interrupts import end_on_signals

    with end_on_signals(), keep_stdout_for_result() as stdout:
        outcome = command()
        try:
            if as_json:
                write_document(outcome.document, stdout)
            else:
                write_lines(outcome.lines, stdout)
            stdout.flush()
        except OSError as error:
            drain(stdout)
            return _show_lost_result(error, outcome.exit_status)
    return outcome.exit_status


def _describe_shortage(error: OSError | MemoryError) -> AssayError:
    """What the system could not give: space, permission, memory."""
    if isinstance(error, MemoryError):
        return EngineError("out of memory", hint="give it more, or take smaller batches or fewer callers")
    place = f"{error.filename}: " if error.filename else ""
    return UsageError(
        f"{place}{error.strerror or error}", hint=_HINTS.get(error.errno or 0, "check the path")
    )


def _show_lost_result(error: OSError | None, status: int) -> int:
    """Say that stdout took no result, and return the exit status: the command's, else that of usage.

    A reader that went, as `head` does, has seen enough: nothing is said, and the status stays.
    """
    problem = describe_failure(error)
    if not problem:
        return status
    write_to_stderr(f"assay: {problem}\n")
    return status or UsageError.exit_status


def _show_error(error: AssayError, *, as_json: bool, exit_status: int | None = None) -> int:
    """Show the message on stderr, as JSON on stdout too where that was asked for; return the exit status."""
    status = error.exit_status if exit_status is None else exit_status
    write_to_stderr(escape_controls(f"assay: {error}\n"))
    if as_json:
        from assay.command_line.terminal import write_document

        problem = {"exit_status": status, "message": error.message, "hint": error.hint}
        try:
            write_document({"error": problem}, sys.stdout)
        except OSError as lost:
            drain(sys.stdout)
            return _show_lost_result(lost, status)
    return status


def _show_bug(*, as_json: bool) -> int:
    import traceback

    write_to_stderr(traceback.format_exc())
    kind, value, _ = sys.exc_info()
    name = kind.__name__ if kind else "error"
    error = AssayError(f"a bug in assay: {name}: {value}", hint="please report it with the lines above")
    return _show_error(error, as_json=as_json, exit_status=EXIT_BUG)
