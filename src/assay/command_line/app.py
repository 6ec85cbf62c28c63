"""The command line: parses, runs one command, prints what it found, and returns the exit status."""

from __future__ import annotations

import dataclasses
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import BoundArguments
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env

from assay import __version__
from assay.command_line.streams import (
    STDOUT,
    describe_failure,
    drain,
    fill_closed_streams,
    write_to_stderr,
)
from assay.command_line.supplied import AssayToml, Supplied
from assay.errors import AssayError, EngineError, UsageError, escape_controls, missing_package
from assay.interrupts import EXIT_INTERRUPTED, end_on_signals

if TYPE_CHECKING:
    from assay.command_line.flags import ShowFlags
    from assay.command_line.outcome import Outcome

EXIT_BUG = 70
_EPILOGUE = (
    "Exit status: 0 fine; 1 a gate failed; 2 usage; 3 finished, but some images failed; 4 a runtime, device "
    "or package is missing; 5 bad weights, model, images or labels; 6 a gate cannot be told; 70 a bug; 130 "
    "interrupted, with what was done kept. Options come from the command line, then ASSAY_COMMAND_OPTION, "
    "then ./assay.toml."
)
_EXTRAS = {
    "torch": "export",
    "onnx": "export",
    "safetensors": "export",
    "onnxruntime": "onnxruntime",
    "nncf": "quantize",
    "ray": "ray",
}

_SUPPLIED = Supplied()
app = App(
    name="assay",
    version=__version__,
    help="Takes a pretrained image classifier to the chip it will run on, and proves how accurate and how "
    "fast it is there.",
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    config=(Env("ASSAY_"), AssayToml("assay.toml"), _SUPPLIED),
    default_parameter=Parameter(negative=(), show_env_var=False),
)
# By module of this folder: its functions, imported when they are called. What they say of themselves stands
# here too, so that `assay --help` need not import them.
COMMANDS = {
    "chain": {
        "run": "Do everything: export, compile, evaluate, benchmark, report.",
        "demo": "Do the same on labelled images and weights made on the spot: nothing is downloaded.",
    },
    "convert": {
        "export": "Checkpoint to ONNX file, with the largest difference from torch.",
        "quantize": "Float ONNX file to an int8 one, with the record of its calibration beside it.",
        "compile": "ONNX file to compiled model.",
    },
    "cascade": {
        "cascade": "Two compiled models of one network to one: as fast as one, the answers of the other.",
    },
    "inspect": {
        "inspect": "Say what a model file says of itself, and draw the record it would be used with.",
    },
    "evaluate": {
        "evaluate": "Predict every image with a compiled model, and score the predictions.",
        "merge": "Write metrics and report of a run whose shares were computed apart.",
    },
    "benchmark": {
        "benchmark": "Measure images per second and latency of compiled models for each batch size.",
    },
    "diagnose": {
        "diagnose": "Say why a model is less accurate than it should be: its record, or which layer.",
    },
    "agree": {
        "agree": "Compare all ways of running a model: which give the same answers, and on which images not.",
    },
    "results": {
        "report": "Write the report of a run anew, or one report of several runs with a column each.",
        "compare": "Compare run B with run A image by image, or with what a model record publishes.",
        "bundle": "Write a finished run into one zip file, from which every figure can be computed again.",
        "verify": "Compute every figure of a bundle again from its predictions; fail if one differs.",
    },
    "machine": {
        "doctor": "Say what is wrong with a copy of a data set, or with this machine; no model is run.",
        "engines": "Say which engines can run here, on which devices, and how to get the others.",
        "fetch": "Download a model's weights, check their hash, and print where they are.",
    },
    "models": {
        "models": "List the models whose records are known by name, or write one's record.",
    },
    "modelzoo": {
        "preprocess": "Write each image as a .bin file, byte for byte as the original script does.",
        "info": "Write the info file of a folder: a line INDEX PATH WIDTH HEIGHT for each file.",
        "infer": "Run a compiled model over .bin or .npy files, as the inference tool does.",
        "score": "Score a result folder of the inference tool, as the original scoring script does.",
    },
}
for _module, _commands in COMMANDS.items():
    for _name, _help in _commands.items():
        app.command(f"assay.command_line.{_module}:{_name}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Where the process itself is interrupted it ends here: runtimes may still compute in threads of their own,
    and destroying those would abort it.

    Args:
        arguments: The command line without the program's name; that of the process if None.
    """
    closed = fill_closed_streams()
    status = _run(list(sys.argv[1:] if arguments is None else arguments))
    failure: OSError | None = None
    try:
        sys.stdout.flush()
    except OSError as error:
        failure = error
        drain(sys.stdout)
    if status == EXIT_INTERRUPTED and arguments is None:
        os._exit(status)
    if failure is None and STDOUT not in closed:
        return status
    return _show_lost_result(failure, status)


def _run(tokens: list[str]) -> int:
    as_json = "--json" in tokens  # for usage errors; when the command is parsed, it says itself
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        if not command.__module__.startswith("assay."):  # --help and --version print for themselves
            with suppress(SystemExit):  # rich raises it where the reader has gone, as `head` does
                command(*bound.args, **bound.kwargs)
            return 0
        bound.apply_defaults()
        flags: ShowFlags = bound.arguments["flags"]
        as_json = flags.json
        bound.arguments["flags"] = dataclasses.replace(flags, supplied=_SUPPLIED.lines)
        if not flags.quiet:
            write_to_stderr("".join(f"assay: {line}\n" for line in _SUPPLIED.lines))
        with end_on_signals():
            return _run_command(command, bound, as_json=as_json)
    except CycloptsError as error:
        return _show_error(UsageError(str(error), hint="assay --help, assay COMMAND --help"), as_json=as_json)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            return _show_bug(as_json=as_json)
        return _show_error(missing_package(error.name, _EXTRAS[error.name]), as_json=as_json)
    except AssayError as error:
        return _show_error(error, as_json=as_json)
    except KeyboardInterrupt:
        interruption = AssayError("interrupted; what was done is kept", hint="continue with --resume")
        return _show_error(interruption, as_json=as_json, exit_status=EXIT_INTERRUPTED)
    except (OSError, MemoryError) as error:
        return _show_error(_describe_shortage(error), as_json=as_json)
    except Exception:  # noqa: BLE001 - the last line of defence; the traceback is shown
        return _show_bug(as_json=as_json)


def _describe_shortage(error: OSError | MemoryError) -> AssayError:
    """What the system could not give: space, permission, memory."""
    if isinstance(error, MemoryError):
        return EngineError("out of memory", hint="give it more, or take smaller batches or fewer callers")
    place = f"{error.filename}: " if error.filename else ""
    return UsageError(
        f"{place}{error.strerror or error}", hint="check the path, who may write there, and the free space"
    )


def _run_command(command: Callable[..., Outcome], bound: BoundArguments, *, as_json: bool) -> int:
    from assay.command_line.terminal import keep_stdout_for_result, write_document, write_lines

    with keep_stdout_for_result() as stdout:
        outcome = command(*bound.args, **bound.kwargs)
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
    write_to_stderr(traceback.format_exc())
    kind, value, _ = sys.exc_info()
    name = kind.__name__ if kind else "error"
    error = AssayError(f"a bug in assay: {name}: {value}", hint="please report it with the lines above")
    return _show_error(error, as_json=as_json, exit_status=EXIT_BUG)
