"""The commands that do one step of the original workflow each, with its file formats."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from assay.command_line.flags import (
    LabelFileFlags,
    ModelFlags,
    ReadFlags,
    ShowFlags,
    make_help,
)
from assay.command_line.outcome import EXIT_SOME_IMAGES_FAILED, Outcome
from assay.command_line.parse import choose_mode
from assay.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class PreprocessFlags(ShowFlags, ModelFlags, ReadFlags):
    """Flags of `assay preprocess`."""

    resume: Annotated[bool, make_help("Continue an interrupted run.")] = False
    overwrite: Annotated[bool, make_help("Replace the .bin files in that folder.")] = False


@dataclass(frozen=True, kw_only=True)
class InferFlags(ShowFlags):
    """Flags of `assay infer`: the inference tool's."""

    input: Annotated[
        str | None,
        make_help("Folder of .bin or .npy files, or such files; made-up values if not given.", "-i"),
    ] = None
    output: Annotated[
        str | None, make_help("Folder for the result folder; nothing is written if not given.", "-o")
    ] = None
    output_dirname: Annotated[
        str | None, make_help("Name of the result folder; the local time if not given.")
    ] = None
    outfmt: Annotated[Literal["TXT", "BIN", "NPY"], make_help("Format of the result files.")] = "BIN"
    batchsize: Annotated[
        int | None, make_help("Images in one call; as compiled, else as in one file, if not given.")
    ] = None
    loop: Annotated[int, make_help("Measured calls of each batch.")] = 1
    warmup_count: Annotated[int, make_help("Calls of the first batch before the measured ones.")] = 1
    pure_data_type: Annotated[Literal["zero", "random"], make_help("Which made-up values.")] = "zero"
    device: Annotated[int, make_help("Number of the device: 0.")] = 0


@dataclass(frozen=True, kw_only=True)
class ScoreFlags(ShowFlags, LabelFileFlags):
    """Flags of `assay score`."""

    allow_missing: Annotated[
        bool, make_help("Count labels without a result as wrong, instead of refusing.")
    ] = False
    dtype: Annotated[
        Literal["float32", "float16", "float64", "int32", "int8", "uint8"] | None,
        make_help("Type of the values in .bin files; float32, which is checked, if not given."),
    ] = None


def preprocess(images: Path, folder: Path, /, flags: PreprocessFlags = PreprocessFlags()) -> Outcome:
    """Write each image as a .bin file, as the original script does.

    Args:
        images: Folder of images, or of class folders.
        folder: The folder for the .bin files.
    """
    from assay.command_line.terminal import open_listener
    from assay.defaults import DEFAULT_MODEL
    from assay.models.read_record import read_model_record
    from assay.report.sentences import describe_failures
    from assay.workflows.modelzoo.preprocess_bins import preprocess_to_bins

    record = read_model_record(flags.model or DEFAULT_MODEL)  # the original script is for that model
    mode = choose_mode(resume=flags.resume, overwrite=flags.overwrite)
    with open_listener(quiet=flags.quiet) as listener:
        done = preprocess_to_bins(images, folder, record, mode, listener, flags.to_read_options())
    lines = [
        f"{folder}: {done.written_count:,} written, {done.kept_count:,} were there, "
        f"{len(done.failures):,} failed",
        *(f"Not an image: {name}" for name in done.ignored),
        *(f"The newest inference tool will refuse it: {reason}" for reason in done.tool_objections),
        *describe_failures(done.failures),
    ]
    status = EXIT_SOME_IMAGES_FAILED if done.failures else 0
    return Outcome(lines=lines, document={"preprocess": done}, exit_status=status)


def info(
    kind: Literal["bin", "jpg"],
    folder: str,
    info_file: Path,
    size: tuple[int, int] | None = None,
    /,
    flags: ShowFlags = ShowFlags(),  # noqa: ARG001 - main reads --json
) -> Outcome:
    """Write the info file of a folder, a line for each file.

    Args:
        kind: bin, for .bin files; jpg, for images, whose sizes are read from their headers.
        folder: The folder; it stands in every line as it is given.
        info_file: The file to write.
        size: Width and height of the .bin files' images.
    """
    from assay.modelzoo.info_files import write_bin_info, write_image_info

    if (kind == "bin") != (size is not None):
        raise UsageError(f"assay info {kind}: give width and height with bin, and only there")
    count = write_image_info(folder, info_file) if size is None else write_bin_info(folder, info_file, *size)
    return Outcome(lines=[f"{info_file}: {count:,} lines"], document={"info": str(info_file), "lines": count})


def infer(compiled: Path, /, flags: InferFlags = InferFlags()) -> Outcome:
    """Run a compiled model over .bin or .npy files, as ais_bench does.

    Args:
        compiled: The compiled model's folder.
    """
    from assay.command_line.terminal import open_listener
    from assay.workflows.modelzoo.infer import InferOptions, infer_files

    options = InferOptions(
        source=flags.input,
        output=flags.output,
        output_dirname=flags.output_dirname,
        output_format=flags.outfmt,
        batch_size=flags.batchsize,
        loop=flags.loop,
        warmup_count=flags.warmup_count,
        pure_data=flags.pure_data_type,
        device=flags.device,
    )
    with open_listener(quiet=flags.quiet) as listener:
        done = infer_files(compiled, options, sys.argv, listener)
    return Outcome(lines=done.lines, document={"inference": done})


def score(
    results: Path,
    labels: Path,
    folder: Path,
    name: str = "result.json",
    /,
    flags: ScoreFlags = ScoreFlags(),
) -> Outcome:
    """Score a result folder, as the original script does.

    Args:
        results: Folder with NAME_0.txt, .bin or .npy files.
        labels: Label file: lines NAME index, or one of the other forms.
        folder: Where the result goes.
        name: The result's file name.
    """
    from assay.command_line.original_score import run_score
    from assay.workflows.modelzoo.score import ScoreOptions

    options = ScoreOptions(
        allow_missing=flags.allow_missing, labels=flags.to_label_options(), dtype=flags.dtype
    )
    return run_score(results, labels, folder / name, options, quiet=flags.quiet)
