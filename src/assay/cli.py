"""The command line: parses, calls one workflow, prints its result, and returns the exit status.

Nothing heavy is imported before a command runs, so that `assay --help` is quick.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import BoundArguments
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env, Toml

from assay import __version__, options
from assay.errors import AssayError, UsageError, missing_package

if TYPE_CHECKING:
    from assay.report.tables import Table
    from assay.workflows.run_folder import RunPlace, RunResult

EXIT_SOME_IMAGES_FAILED = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
_EPILOGUE = (
    "Exit status: 0 fine; 1 a gate failed; 2 usage; 3 finished, but some images failed; 4 a runtime, device "
    "or package is missing; 5 bad weights, model, images or labels; 70 a bug; 130 interrupted, with what was "
    "done kept. Options come from the command line, then ASSAY_COMMAND_OPTION, then ./assay.toml."
)
_EXTRAS = {"torch": "export", "onnx": "export", "safetensors": "export"}

app = App(
    name="assay",
    version=__version__,
    help="Takes a pretrained image classifier to the chip it will run on, and proves how accurate and how "
    "fast it is there.",
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    config=(Env("ASSAY_"), Toml("assay.toml")),
    default_parameter=Parameter(negative=(), show_env_var=False),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command found: lines and tables for people, a document for programs, the exit status."""

    lines: Sequence[str | Table]
    document: dict[str, object]
    exit_status: int = 0


@app.command
def run(chosen: options.RunOptions) -> Outcome:
    """Do everything: export, compile, evaluate, benchmark, report."""
    from assay.terminal import open_listener
    from assay.workflows.full_run import FullRun, run_all

    request = FullRun(
        weights=chosen.weights,
        images=chosen.images,
        labels=chosen.labels,
        model=chosen.model,
        engine=chosen.engine,
        precision=chosen.precision,
        device=chosen.device,
        batch_sizes=options.parse_batch_sizes(chosen.batch_size),
        opset=chosen.opset,
        shard_size=chosen.shard_size,
        keep_logits=chosen.keep_logits,
        compare_with_torch=chosen.compare_with_torch,
    )
    with open_listener(quiet=chosen.quiet) as listener:
        return _describe_run(run_all(request, _choose_place(chosen), listener))


@app.command
def demo(chosen: options.DemoOptions = options.DemoOptions()) -> Outcome:
    """Do the same on labelled images and weights made on the spot: nothing is downloaded."""
    from assay.terminal import open_listener
    from assay.workflows.demo import run_demo

    with open_listener(quiet=chosen.quiet) as listener:
        result = run_demo(
            chosen.output, overwrite=chosen.overwrite, arguments=tuple(sys.argv[1:]), listener=listener
        )
    return _describe_run(result)


@app.command
def export(
    weights: Path, onnx_file: Path, /, chosen: options.ExportOptions = options.ExportOptions()
) -> Outcome:
    """Checkpoint to ONNX file, with the largest difference from torch.

    Args:
        weights: Checkpoint: .pth or .safetensors.
        onnx_file: The ONNX file to write.
    """
    from assay.images.sources import index_images
    from assay.models.record import read_model_record
    from assay.terminal import open_listener
    from assay.workflows.export import PARITY_IMAGE_COUNT, export_checkpoint
    from assay.workflows.sample_images import load_sample_images

    record = read_model_record(chosen.model)
    index = index_images(chosen.images, None, record.label_count) if chosen.images else None
    samples = load_sample_images(record, index, PARITY_IMAGE_COUNT)
    with open_listener(quiet=chosen.quiet) as listener:
        exported = export_checkpoint(weights, onnx_file, record, chosen.opset, samples, listener)
    parity = exported.parity
    line = (
        f"{onnx_file}: opset {exported.opset}, largest logit difference from torch "
        f"{parity.max_difference:.2g}, same Top-1 on {parity.top1_agreement_count} of "
        f"{parity.image_count} images"
    )
    return Outcome(lines=[line], document={"export": exported})


@app.command(name="compile")
def compile_(
    onnx_file: Path, folder: Path, /, chosen: options.CompileOptions = options.CompileOptions()
) -> Outcome:
    """ONNX file to compiled model.

    Args:
        onnx_file: The ONNX file.
        folder: The folder to write.
    """
    from assay.engines.base import CompileOptions
    from assay.models.record import read_model_record
    from assay.terminal import open_listener
    from assay.workflows.compile import compile_model

    wanted = CompileOptions(
        record=read_model_record(chosen.model),
        precision=chosen.precision,
        device=chosen.device,
        batch_size=chosen.batch_size,
    )
    with open_listener(quiet=chosen.quiet) as listener:
        compiled = compile_model(
            onnx_file, folder, chosen.engine, wanted, overwrite=chosen.overwrite, listener=listener
        )
    line = f"{folder}: {compiled.engine} {compiled.engine_version}, {compiled.device}, {compiled.precision}"
    return Outcome(lines=[line], document={"compiled": compiled})


@app.command
def evaluate(folder: Path, /, chosen: options.EvaluateOptions) -> Outcome:
    """Predict every image with a compiled model, and score the predictions.

    Args:
        folder: The compiled model's folder.
    """
    from assay.terminal import open_listener
    from assay.workflows.evaluate import EvaluateOptions
    from assay.workflows.single_steps import evaluate_alone

    wanted = EvaluateOptions(
        batch_size=chosen.batch_size, shard_size=chosen.shard_size, keep_logits=chosen.keep_logits
    )
    with open_listener(quiet=chosen.quiet) as listener:
        result = evaluate_alone(folder, chosen.images, chosen.labels, wanted, _choose_place(chosen), listener)
    return _describe_run(result)


@app.command
def benchmark(*folders: Path, chosen: options.BenchmarkOptions = options.BenchmarkOptions()) -> Outcome:
    """Measure images per second and latency of compiled models for each batch size.

    Args:
        folders: The compiled models' folders.
    """
    from assay.terminal import open_listener
    from assay.workflows.single_steps import benchmark_alone

    if not folders:
        raise UsageError("assay benchmark: no compiled model given")
    batch_sizes = options.parse_batch_sizes(chosen.batch_size)
    with open_listener(quiet=chosen.quiet) as listener:
        result = benchmark_alone(
            folders, chosen.images, batch_sizes, chosen.repeats, _choose_place(chosen), listener
        )
    return _describe_run(result)


@app.command
def report(
    *folders: Path,
    chosen: options.ReportOptions = options.ReportOptions(),  # noqa: ARG001 - main reads its --json
) -> Outcome:
    """Write report.md anew from what run folders hold.

    Args:
        folders: The run folders.
    """
    from assay.workflows.report import write_report

    if not folders:
        raise UsageError("assay report: no run folder given")
    paths = [str(write_report(folder)) for folder in folders]
    return Outcome(lines=paths, document={"reports": paths})


@app.command
def fetch(model: str, /, chosen: options.FetchOptions = options.FetchOptions()) -> Outcome:
    """Download a model's weights, check their hash, and print where they are.

    Args:
        model: Name of a model record, or a TOML file.
    """
    from assay.terminal import open_listener
    from assay.workflows.fetch import fetch_weights

    with open_listener(quiet=chosen.quiet) as listener:
        path = fetch_weights(model, chosen.cache, listener)
    return Outcome(lines=[str(path)], document={"weights": str(path)})


def _choose_place(chosen: options.FolderOptions) -> RunPlace:
    from assay.workflows.run_folder import RunPlace

    return RunPlace(path=chosen.output, mode=chosen.choose_mode(), arguments=tuple(sys.argv[1:]))


def _describe_run(result: RunResult) -> Outcome:
    from assay.report.summary import summarise_run

    failed_count = result.metrics.accuracy.failed_count if result.metrics else 0
    return Outcome(
        lines=summarise_run(result.folder, result.manifest, result.metrics, result.benchmark),
        document={
            "run": str(result.folder),
            "accuracy": result.metrics.accuracy if result.metrics else None,
            "agreement": result.metrics.agreement if result.metrics else None,
            "benchmark": result.benchmark.rows if result.benchmark else None,
        },
        exit_status=EXIT_SOME_IMAGES_FAILED if failed_count else 0,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The command line without the program's name; that of the process if None.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens  # for usage errors; when the command is parsed, it says itself
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        if command not in _COMMANDS:  # --help and --version print for themselves
            command(*bound.args, **bound.kwargs)
            return 0
        as_json = any(getattr(value, "json", False) for value in bound.arguments.values())
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
        interruption = AssayError("interrupted; what was done is kept", hint="go on with --resume")
        return _show_error(interruption, as_json=as_json, exit_status=EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last line of defence; the traceback is shown
        return _show_bug(as_json=as_json)


_COMMANDS = frozenset({run, demo, export, compile_, evaluate, benchmark, report, fetch})


def _run_command(command: Callable[..., Outcome], bound: BoundArguments, *, as_json: bool) -> int:
    from assay.terminal import keep_stdout_for_result, write_document, write_lines

    with keep_stdout_for_result() as stdout:
        outcome = command(*bound.args, **bound.kwargs)
        if as_json:
            write_document(outcome.document, stdout)
        else:
            write_lines(outcome.lines, stdout)
    return outcome.exit_status


def _show_error(error: AssayError, *, as_json: bool, exit_status: int | None = None) -> int:
    """Show the message on stderr, as JSON on stdout too where that was asked for; return the exit status."""
    status = error.exit_status if exit_status is None else exit_status
    sys.stderr.write(f"assay: {error}\n")
    if as_json:
        from assay.terminal import write_document

        problem = {"exit_status": status, "message": error.message, "hint": error.hint}
        write_document({"error": problem}, sys.stdout)
    return status


def _show_bug(*, as_json: bool) -> int:
    traceback.print_exc()
    kind, value, _ = sys.exc_info()
    name = kind.__name__ if kind else "error"
    error = AssayError(f"a bug in assay: {name}: {value}", hint="please report it with the lines above")
    return _show_error(error, as_json=as_json, exit_status=EXIT_BUG)
