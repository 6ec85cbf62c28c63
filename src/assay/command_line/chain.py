"""`assay run` and `assay demo`: the whole chain, from the weights to the report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal  # noqa: F401 - the annotations of the shared flags are read here

from assay.command_line.flags import (
    WEIGHTS_KEY_HELP,
    CalibrationFlags,
    EngineFlags,
    FolderFlags,
    ImageFlags,
    PredictionFlags,
    ShowFlags,
    SpeedFlags,
    StopFlags,
    make_help,
)
from assay.command_line.outcome import Outcome, describe_run


@dataclass(frozen=True, kw_only=True)
class RunFlags(
    StopFlags,
    PredictionFlags,
    FolderFlags,
    CalibrationFlags,
    SpeedFlags,
    EngineFlags,
    ImageFlags,
):
    """Flags of `assay run`."""

    weights: Annotated[Path, make_help("Checkpoint (.pth, .safetensors), or an ONNX file.")]
    weights_key: Annotated[str | None, make_help(WEIGHTS_KEY_HELP)] = None
    opset: Annotated[int, make_help("Opset of the ONNX file, 11 to 18.")] = 18
    compare_with_torch: Annotated[bool, make_help("Let torch predict the same images, and compare.")] = False
    calibration: Annotated[
        Path | None, make_help("Images to calibrate int8 on; some of --images if not given.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class DemoFlags(ShowFlags):
    """Flags of `assay demo`."""

    output: Annotated[Path, make_help("Folder for the images, the weights and the run.", "-o")] = Path("demo")
    overwrite: Annotated[bool, make_help("Replace the demo in that folder.")] = False


def run(flags: RunFlags) -> Outcome:
    """Do everything: export, compile, evaluate, benchmark, report."""
    from assay.command_line.terminal import open_listener
    from assay.workflows.full_run import run_all
    from assay.workflows.make_models import FullRun

    request = FullRun(
        weights=flags.weights,
        images=flags.images,
        labels=flags.to_label_options(flags.labels),
        reading=flags.to_read_options(),
        model=flags.model,
        compile=flags.to_compile_choice(),
        calibration=flags.to_calibration_options(flags.calibration, flags.to_read_options()),
        speed=flags.choose_speed(),
        weights_key=flags.weights_key,
        opset=flags.opset,
        shard_size=flags.shard_size,
        keep_logits=flags.keep_logits,
        compare_with_torch=flags.compare_with_torch,
        limit=flags.limit,
        gates=flags.choose_gates(),
        stop_error=flags.choose_stop_error(),
    )
    with open_listener(quiet=flags.quiet) as listener:
        result = run_all(request, flags.to_run_place(), listener)
    return describe_run(result, flags.cannot_tell)


def demo(flags: DemoFlags = DemoFlags()) -> Outcome:
    """Do the same on labelled images and weights made on the spot: nothing is downloaded."""
    from assay.command_line.terminal import open_listener
    from assay.workflows.demo import run_demo

    with open_listener(quiet=flags.quiet) as listener:
        result = run_demo(
            flags.output, overwrite=flags.overwrite, arguments=tuple(sys.argv[1:]), listener=listener
        )
    return describe_run(result)
