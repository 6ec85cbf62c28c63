"""`assay run` and `assay demo`: the whole chain, from the weights to the report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from assay.command_line.device_flags import DeviceFlags
from assay.command_line.flags import (
    MAX_DIFFERENT_HELP,
    CalibrationFlags,
    CheckpointFlags,
    EngineFlags,
    FolderFlags,
    ImageFlags,
    PredictionFlags,
    ShowFlags,
    SpeedFlags,
    make_help,
)
from assay.command_line.outcome import Outcome, describe_run
from assay.command_line.parse import choose_mode, parse_batches, refuse_unused
from assay.defaults import MAX_DIFFERENT_PERCENT

if TYPE_CHECKING:
    from assay.images.request import ImageRequest


@dataclass(frozen=True, kw_only=True)
class RunFlags(
    PredictionFlags,
    FolderFlags,
    CalibrationFlags,
    SpeedFlags,
    DeviceFlags,
    EngineFlags,
    CheckpointFlags,
    ImageFlags,
):
    """Flags of `assay run`."""

    weights: Annotated[
        Path, make_help("Checkpoint (.pth, .safetensors), an ONNX file, or a folder of the Hugging Face hub.")
    ]
    accuracy_batch: Annotated[
        str | None,
        make_help(
            "Batch sizes to predict all images at, such as 1,best (the fastest VALID one): are all answers "
            "the same?"
        ),
    ] = None
    compare_with_torch: Annotated[bool, make_help("Let torch predict the same images, and compare.")] = False
    cascade: Annotated[
        bool,
        make_help("Make a cascade of the int8 model and the float one too, and evaluate all three."),
    ] = False
    max_different: Annotated[float, make_help(f"With --cascade. {MAX_DIFFERENT_HELP}")] = (
        MAX_DIFFERENT_PERCENT
    )
    calibration: Annotated[
        Path | None, make_help("Images to calibrate int8 on; some of --images if not given.")
    ] = None

    def to_max_different(self) -> float | None:
        """What a cascade may leave, in percent of all images; None where none is made.

        Raises:
            UsageError: --max-different without --cascade.
        """
        if not self.cascade:
            refuse_unused(self, ["max_different"], "without --cascade")
            return None
        return self.max_different

    def to_calibration_images(self) -> ImageRequest | None:
        """The images of --calibration; None for some of --images."""
        from assay.images.request import ImageRequest

        if self.calibration is None:
            return None
        return ImageRequest(path=self.calibration, reading=self.to_read_options())


@dataclass(frozen=True, kw_only=True)
class DemoFlags(ShowFlags):
    """Flags of `assay demo`."""

    output: Annotated[Path, make_help("Folder for the images, the weights and the run.", "-o")] = Path("demo")
    overwrite: Annotated[bool, make_help("Replace the demo in that folder.")] = False
    resume: Annotated[bool, make_help("Continue the demo in that folder.")] = False


def run(flags: RunFlags) -> Outcome:
    """Do everything: export, compile, evaluate, benchmark, report."""
    from assay.command_line.terminal import open_listener
    from assay.workflows.full_run import RunRequest, run_all

    request = RunRequest(
        weights=flags.weights,
        images=flags.to_image_request(),
        model=flags.model,
        weights_key=flags.weights_key,
        opset=flags.opset,
        calibration=flags.to_calibration_options(flags.to_calibration_images()),
        compile=flags.to_compile_choice(),
        evaluation=flags.to_evaluate_options(),
        compare_with_torch=flags.compare_with_torch,
        speed=flags.to_repeat_plan(),
        accuracy_batches=parse_batches("--accuracy-batch", flags.accuracy_batch),
        cascade_max_different=flags.to_max_different(),
        devices=flags.get_devices(),
        device_timeout_s=flags.device_timeout,
    )
    with open_listener(quiet=flags.quiet) as listener:
        result = run_all(request, flags.to_run_place(), listener)
    return describe_run(result, flags.cannot_tell)


def demo(flags: DemoFlags = DemoFlags()) -> Outcome:
    """Do everything on images and weights made on the spot; no download."""
    from assay.command_line.terminal import open_listener
    from assay.workflows.demo import run_demo

    with open_listener(quiet=flags.quiet) as listener:
        mode = choose_mode(resume=flags.resume, overwrite=flags.overwrite)
        result = run_demo(flags.output, mode=mode, arguments=tuple(sys.argv[1:]), listener=listener)
    return describe_run(result)
