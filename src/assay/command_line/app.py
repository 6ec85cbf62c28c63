"""The command line: parses, runs one command, prints what it found, and returns the exit status."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env

from assay import __version__
from assay.command_line.guard import run_to_end, show_errors, show_outcome
from assay.command_line.streams import write_to_stderr
from assay.command_line.supplied import AssayToml, Supplied
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.command_line.flags import ShowFlags

_EPILOGUE = (
    "Exit status: 0 fine; 1 a gate failed; 2 usage; 3 finished, but some images failed; 4 a runtime, device "
    "or package is missing; 5 bad weights, model, images or labels; 6 a gate cannot be told; 70 a bug; 130 "
    "interrupted, with what was done kept. Options come from the command line, then ASSAY_COMMAND_OPTION, "
    "then ./assay.toml."
)

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

    Args:
        arguments: The command line without the program's name; that of the process if None.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens  # for usage errors; when the command is parsed, it says itself
    run = partial(show_errors, partial(_run, tokens), as_json=as_json)
    return run_to_end(run, is_process=arguments is None)


def _run(tokens: list[str]) -> int:
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UsageError(str(error), hint="assay --help, assay COMMAND --help") from error
    if not command.__module__.startswith("assay."):  # --help and --version print for themselves
        with suppress(SystemExit):  # rich raises it where the reader has gone, as `head` does
            command(*bound.args, **bound.kwargs)
        return 0
    bound.apply_defaults()
    flags: ShowFlags = bound.arguments["flags"]
    bound.arguments["flags"] = dataclasses.replace(flags, supplied=_SUPPLIED.lines)
    if not flags.quiet:
        write_to_stderr("".join(f"assay: {line}\n" for line in _SUPPLIED.lines))
    run = partial(show_outcome, partial(command, *bound.args, **bound.kwargs), as_json=flags.json)
    return show_errors(run, as_json=flags.json)
