"""`assay export`, `assay quantize`, `assay compile`: checkpoint to ONNX file to compiled model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from assay.command_line.flags import (
    CLASS_FLAGS,
    CalibrationFlags,
    CannotTellFlags,
    CheckpointFlags,
    ClassFlags,
    EngineFlags,
    ModelFlags,
    ReadFlags,
    ShowFlags,
    make_help,
)
from assay.command_line.outcome import Outcome, choose_status
from assay.command_line.parse import refuse_unused
from assay.errors import UsageError
from assay.files import refuse_same_file

if TYPE_CHECKING:
    from assay.engines.engine import CompileChoice
    from assay.images.calibration import AccuracyControl


@dataclass(frozen=True, kw_only=True)
class ExportFlags(ShowFlags, CheckpointFlags):
    """Flags of `assay export`."""

    images: Annotated[Path | None, make_help("Images to compare with torch on; drawn ones if not given.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class QuantizeFlags(ShowFlags, CannotTellFlags, ModelFlags, CalibrationFlags, ClassFlags, ReadFlags):
    """Flags of `assay quantize`."""

    calibration: Annotated[Path, make_help("Images to calibrate on: a folder, or any form --images takes.")]
    max_drop: Annotated[
        float | None, make_help("Largest loss of Top-1 to accept, in percentage points; needs --images.")
    ] = None
    images: Annotated[Path | None, make_help("Labelled images to measure the loss on.")] = None
    labels: Annotated[Path | None, make_help("Label file of --images, if they need one.")] = None

    def to_accuracy_control(self) -> AccuracyControl | None:
        """How much may be lost, and on what; None where that does not matter.

        Raises:
            UsageError: Only one of --max-drop and --images, or labels without images.
        """
        from assay.images.calibration import AccuracyControl
        from assay.images.request import ImageRequest

        if (self.max_drop is None) != (self.images is None):
            raise UsageError("--max-drop and --images go together", hint="give both, or neither")
        if self.max_drop is None or self.images is None:
            refuse_unused(self, CLASS_FLAGS, "without --images")
            return None
        labels = self.to_label_options(self.labels)
        images = ImageRequest(path=self.images, labels=labels, reading=self.to_read_options())
        return AccuracyControl(images=images, max_drop=self.max_drop)


@dataclass(frozen=True, kw_only=True)
class CompileFlags(ShowFlags, EngineFlags):
    """Flags of `assay compile`."""

    batch_size: Annotated[int | None, make_help("Batches of exactly this size; any size if not given.")] = (
        None
    )
    overwrite: Annotated[bool, make_help("Replace the compiled model in that folder.")] = False

    def to_compile_choice(self) -> CompileChoice:
        """See `EngineFlags.to_compile_choice`."""
        return dataclasses.replace(super().to_compile_choice(), batch_size=self.batch_size)


def export(weights: Path, onnx_file: Path, /, flags: ExportFlags = ExportFlags()) -> Outcome:
    """Checkpoint to ONNX file, compared with torch.

    Args:
        weights: Checkpoint: .pth or .safetensors, or a folder of the Hugging Face hub.
        onnx_file: The ONNX file to write.
    """
    from assay.checkpoint.weights_choice import describe_weights_choice
    from assay.command_line.terminal import open_listener
    from assay.images.classes import read_classes
    from assay.images.sample_images import load_sample_images
    from assay.images.sources import index_images
    from assay.models.choose_record import choose_record
    from assay.workflows.models.export import PARITY_IMAGE_COUNT, ExportOptions, export_checkpoint

    refuse_same_file(onnx_file, flags.find_model_file(), flags.images)
    record = choose_record(flags.model, weights)
    index = index_images(flags.images, read_classes(record)) if flags.images else None
    with open_listener(quiet=flags.quiet) as listener:
        samples = load_sample_images(record, index, PARITY_IMAGE_COUNT, listener.announce)
        options = ExportOptions(opset=flags.opset, weights_key=flags.weights_key)
        exported = export_checkpoint(weights, onnx_file, record, samples, listener, options)
    parity = exported.parity
    line = (
        f"{onnx_file}: opset {exported.opset}, largest logit difference from torch "
        f"{parity.max_difference:.2g}, same Top-1 on {parity.top1_agreement_count} of "
        f"{parity.image_count} images"
    )
    choice = describe_weights_choice(exported.weights_key, exported.other_weights_keys)
    return Outcome(lines=[line, *filter(None, [choice])], document={"export": exported})


def quantize(onnx_file: Path, out_file: Path, /, flags: QuantizeFlags) -> Outcome:
    """Float ONNX file to int8 ONNX file, calibrated on images.

    Args:
        onnx_file: The float ONNX file.
        out_file: The int8 ONNX file to write.
    """
    from assay.command_line.terminal import open_listener
    from assay.images.request import ImageRequest
    from assay.models.choose_record import choose_record, describe_choice
    from assay.report.sentences import describe_quantised
    from assay.report.tables.quantisation import make_trial_table
    from assay.report.text import wrap_lines
    from assay.workflows.models.quantize import quantize_file, quantize_within

    refuse_same_file(out_file, flags.find_model_file(), flags.calibration, flags.images, flags.labels)
    record = choose_record(flags.model, onnx_file)
    images = ImageRequest(path=flags.calibration, reading=flags.to_read_options())
    calibration = flags.to_calibration_options(images)
    control = flags.to_accuracy_control()
    with open_listener(quiet=flags.quiet) as listener:
        for note in describe_choice(record, onnx_file):
            listener.announce(f"Note: {note}")
        if control is None:
            made = quantize_file(onnx_file, out_file, record, calibration, listener)
            lines = [*wrap_lines(*describe_quantised(str(out_file), made))]
            return Outcome(lines=lines, document={"quantized": made})
        made, found = quantize_within(onnx_file, out_file, calibration, control, record, listener)
    verdict = found.verdict
    return Outcome(
        lines=[
            make_trial_table(found.trials, found.trial, control.max_drop),
            "",
            *wrap_lines(
                f"Loss of at most {control.max_drop:g} points: {verdict.outcome}. {verdict.sentence}"
            ),
        ],
        document={
            "quantized": made,
            "trials": found.trials,
            "verdict": verdict,
            "within": {"within": True, "not within": False}.get(verdict.outcome),
        },
        exit_status=choose_status([verdict.outcome], flags.cannot_tell),
    )


def compile(onnx_file: Path, folder: Path, /, flags: CompileFlags = CompileFlags()) -> Outcome:
    """ONNX file to compiled model.

    Args:
        onnx_file: The ONNX file.
        folder: The folder to write.
    """
    from assay.command_line.terminal import open_listener
    from assay.engines.catalog import find_engine
    from assay.models.choose_record import choose_record
    from assay.workflows.models.compile import compile_model

    refuse_same_file(folder, flags.find_model_file())
    choice = flags.to_compile_choice()
    engine = find_engine(choice.engine)  # a mistyped name is said before the file is looked at
    options = engine.resolve(choice, choose_record(flags.model, onnx_file))
    with open_listener(quiet=flags.quiet) as listener:
        compiled = compile_model(onnx_file, folder, options, overwrite=flags.overwrite, listener=listener)
    line = f"{folder}: {compiled.engine} {compiled.engine_version}, {compiled.device}, {compiled.precision}"
    return Outcome(lines=[line], document={"compiled": compiled})
