"""The options of the commands that do one step of the original workflow each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from assay.command_line.flags import LabelFileOptions, ModelOptions, ReadOptions, ShowOptions, make_help


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PreprocessOptions(ShowOptions, ModelOptions, ReadOptions):
    """Options of `assay preprocess`."""

    resume: Annotated[bool, make_help("Go on where an interrupted run stopped.")] = False
    overwrite: Annotated[bool, make_help("Replace the .bin files in that folder.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InfoOptions(ShowOptions):
    """Options of `assay info`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InferOptions(ShowOptions):
    """Options of `assay infer`: the inference tool's."""

    input: Annotated[
        str | None,
        make_help("Folder of .bin or .npy files, or such files; made-up values if not given.", "-i"),
    ] = None
    output: Annotated[str | None, make_help("Where the result folder is made; none if not given.", "-o")] = (
        None
    )
    output_dirname: Annotated[str | None, make_help("The result folder's name; else the local time.")] = None
    outfmt: Annotated[Literal["TXT", "BIN", "NPY"], make_help("Form of the result files.")] = "BIN"
    batchsize: Annotated[int | None, make_help("Images in one run; else as compiled, or as in one file.")] = (
        None
    )
    loop: Annotated[int, make_help("How often each batch is run and measured.")] = 1
    warmup_count: Annotated[int, make_help("Runs of the first batch that are not measured.")] = 1
    pure_data_type: Annotated[Literal["zero", "random"], make_help("What made-up values are.")] = "zero"
    device: Annotated[int, make_help("Number of the device: 0.")] = 0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ShowOptions, LabelFileOptions):
    """Options of `assay score`."""

    allow_missing: Annotated[bool, make_help("Score although labels have no result: as wrong.")] = False
