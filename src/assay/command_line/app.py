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
from assay.command_line.help_page import EXAMPLES, HelpPage
from assay.command_line.pipelines import run_with_reports
from assay.command_line.streams import write_to_stderr
from assay.command_line.supplied import AssayToml, Supplied

if TYPE_CHECKING:
    from assay.command_line.flags import ShowFlags

_EPILOGUE = (
    "Try it: assay demo. Your own classifier and images: assay run --weights FILE --images DIR.\n"
    "Options of a command: assay help COMMAND. More to read: assay help topics."
)

_SUPPLIED = Supplied()
app = App(
    name="assay",
    version=__version__,
    help="Takes a pretrained image classifier to the chip it will run on, and proves how accurate and how "
    "fast it is there.",
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    help_formatter=HelpPage(),
    config=(Env("ASSAY_"), AssayToml("assay.toml"), _SUPPLIED),
    default_parameter=Parameter(negative=(), show_env_var=False),
)
# By module of this folder: its functions, imported when they are called. What they say of themselves stands
# here too, so that `assay --help` need not import them.
COMMANDS = {
    "chain": {
        "run": "Do everything: export, compile, evaluate, benchmark, report.",
        "demo": "Do the same on images and weights made on the spot; no download.",
    },
    "convert": {
        "export": "Checkpoint to ONNX file, compared with torch.",
        "quantize": "Float ONNX file to int8 ONNX file, calibrated on images.",
        "compile": "ONNX file to compiled model.",
    },
    "cascade": {
        "cascade": "Two compiled models to one: one's speed, the other's answers.",
    },
    "inspect": {
        "inspect": "Say what a model file says of itself, and draw its record.",
        "init": "Write a model file's record, its open lines marked.",
    },
    "evaluate": {
        "evaluate": "Predict every image with a compiled model, and score it.",
        "merge": "Write the report of a run whose shares were computed apart.",
    },
    "predict": {
        "predict": "Predict images without labels, to CSV, JSON Lines or Parquet.",
    },
    "benchmark": {
        "benchmark": "Measure images per second and latency by batch size.",
    },
    "diagnose": {
        "diagnose": "Say why a model is less accurate than it should be.",
    },
    "agree": {
        "agree": "Compare all ways of running a model: which answer the same.",
    },
    "results": {
        "runs": "List the runs in a folder, the newest first.",
        "report": "Write a run's report anew, or one report of several runs.",
        "compare": "Compare run B with run A, or with what a record publishes.",
        "bundle": "Write a finished run into one zip file that proves its figures.",
        "verify": "Compute a bundle's figures again; fail if one differs.",
    },
    "history": {
        "history": "Keep results over time, compare with a baseline, show trends.",
    },
    "machine": {
        "doctor": "Say what is wrong with a data set, or with this machine.",
        "engines": "Say which engines run here, and how to get the others.",
        "fetch": "Download a model's weights, and check their hash.",
    },
    "index": {
        "index": "List and label a folder of images once, into a file for --images.",
    },
    "models": {
        "models": "List the models known by name, or write one's record.",
    },
    "modelzoo": {
        "preprocess": "Write each image as a .bin file, as the original script does.",
        "info": "Write the info file of a folder, a line for each file.",
        "infer": "Run a compiled model over .bin or .npy files, as ais_bench does.",
        "score": "Score a result folder, as the original script does.",
    },
    "help": {
        "help": "Show the options of a command, or a text on a topic.",
        "completion": "Print what makes a shell complete commands and options.",
    },
}
for _module, _commands in COMMANDS.items():
    for _name, _help in _commands.items():
        app.command(
            f"assay.command_line.{_module}:{_name}",
            name=_name,
            help=_help,
            help_epilogue=f"Example: {EXAMPLES[_name]}" if _name in EXAMPLES else "",
        )


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
    if tokens[:1] == ["help"] and (len(tokens) == 1 or tokens[1] in app):
        tokens = [*tokens[1:], "--help"]
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from assay.command_line.mistyped import explain

        raise explain(error, app, _SUPPLIED.arguments) from error
    if not command.__module__.startswith("assay."):  # --help and --version print for themselves
        with suppress(SystemExit):  # rich raises it where the reader has gone, as `head` does
            command(*bound.args, **bound.kwargs)
        return 0
    bound.apply_defaults()
    flags: ShowFlags = bound.arguments["flags"]
    bound.arguments["flags"] = dataclasses.replace(flags, supplied=_SUPPLIED.lines)
    if not flags.quiet:
        write_to_stderr("".join(f"assay: {line}\n" for line in _SUPPLIED.lines))
    reported = partial(
        run_with_reports, f"assay {tokens[0]}", partial(command, *bound.args, **bound.kwargs), flags
    )
    run = partial(show_outcome, reported, as_json=flags.json)
    return show_errors(run, as_json=flags.json)
