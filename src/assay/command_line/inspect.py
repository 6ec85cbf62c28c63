"""`assay inspect` and `assay init`: what a model file says of itself, and the record drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.command_line.flags import ShowFlags, make_help
from assay.command_line.outcome import Outcome
from assay.command_line.parse import refuse_replacing


@dataclass(frozen=True, kw_only=True)
class DrawFlags(ShowFlags):
    """How a record is drawn from a model file."""

    like: Annotated[
        str, make_help("Record whose preprocessing and classes are taken: a name, or a TOML file.")
    ] = ""
    set: Annotated[
        tuple[str, ...],
        make_help("KEY=VALUE, a line of the record, such as preprocessing.resize_side=256; repeatable."),
    ] = ()
    overwrite: Annotated[bool, make_help("Replace a record that is there.")] = False


@dataclass(frozen=True, kw_only=True)
class InspectFlags(DrawFlags):
    """Flags of `assay inspect`."""

    output: Annotated[Path | None, make_help("Write the record there, as TOML.", "-o")] = None


@dataclass(frozen=True, kw_only=True)
class InitFlags(DrawFlags):
    """Flags of `assay init`."""

    output: Annotated[
        Path | None, make_help("The record to write; MODEL.toml in this folder if not given.", "-o")
    ] = None


def inspect(model: Path, /, flags: InspectFlags = InspectFlags()) -> Outcome:
    """Say what a model file says of itself, and draw its record.

    Args:
        model: ONNX file, OpenVINO IR (.xml), checkpoint, or a folder of the Hugging Face hub.
    """
    from assay.report.inspection import summarise_inspection
    from assay.workflows.models.inspect import inspect_model

    if flags.output is not None:
        refuse_replacing(flags.output, overwrite=flags.overwrite)
    found = inspect_model(model, like=flags.like, given=flags.set, record_path=flags.output)
    lines = summarise_inspection(found)
    if flags.output is not None:
        lines += ["", f"{flags.output}: the record, with {len(found.open)} open lines"]
    return Outcome(lines=lines, document={"inspection": found})


def init(model: Path, /, flags: InitFlags = InitFlags()) -> Outcome:
    """Write a model file's record, its open lines marked.

    Args:
        model: ONNX file, OpenVINO IR (.xml), checkpoint, or a folder of the Hugging Face hub.
    """
    from assay.workflows.models.inspect import inspect_model

    path = flags.output or Path(f"{model.resolve().stem}.toml")
    refuse_replacing(path, overwrite=flags.overwrite)
    found = inspect_model(model, like=flags.like, given=flags.set, record_path=path)
    marked = f", {len(found.open)} lines marked `# open`" if found.open else ""
    lines = [f"{path}: the record of {model}{marked}", *found.next]
    return Outcome(lines=lines, document={"record": str(path), "inspection": found})
