"""`assay inspect`: what a model file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.command_line.flags import ShowFlags, make_help
from assay.command_line.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class InspectFlags(ShowFlags):
    """Flags of `assay inspect`."""

    output: Annotated[Path | None, make_help("Write the record there, as TOML.", "-o")] = None
    like: Annotated[
        str, make_help("Record whose preprocessing and classes are taken: a name, or a TOML file.")
    ] = ""
    set: Annotated[
        tuple[str, ...],
        make_help("KEY=VALUE, a line of the record, such as preprocessing.resize_side=256; repeatable."),
    ] = ()


def inspect(model: Path, /, flags: InspectFlags = InspectFlags()) -> Outcome:
    """Say what a model file says of itself, and draw its record.

    Args:
        model: ONNX file, OpenVINO IR (.xml), checkpoint, or a folder of the Hugging Face hub.
    """
    from assay.report.inspection import summarise_inspection
    from assay.workflows.models.inspect import inspect_model

    found = inspect_model(model, like=flags.like, given=flags.set, record_path=flags.output)
    lines = summarise_inspection(found)
    if flags.output is not None:
        lines += ["", f"{flags.output}: the record, with {len(found.open)} open lines"]
    return Outcome(lines=lines, document={"inspection": found})
