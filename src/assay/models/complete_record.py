"""A record by a library's name, with what only the model file can tell: its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from assay.errors import BadModelError
from assay.models.inspection.draw_record import draw_record
from assay.models.inspection.facts import read_network_facts
from assay.models.inspection.record_lines import RecordLine, build_record, list_open
from assay.models.published.find import list_other_sizes
from assay.models.record import ModelRecord

INPUT_NAME, OUTPUT_NAME = "image", "class"
"""Of the ONNX files that assay exports."""


def complete_record(record: ModelRecord, source: Path | None) -> ModelRecord:
    """The record, its tensors named: as it says itself, else as the file's graph, else as assay exports.

    A record of timm's or torchvision's knows the pictures and the classes, and nothing of the file. There
    the file decides on names, layout, type and scores, and on what it normalises itself.

    Args:
        record: The record.
        source: A file that holds a graph; None for a checkpoint.

    Raises:
        BadModelError: The file cannot be read, takes pictures of another size, has another number of
            classes, or does not tell which of its tensors are meant or how it takes pictures.
    """
    if record.input.name and record.output.name:
        return record
    if source is None:
        tensor = msgspec.structs.replace(record.input, name=record.input.name or INPUT_NAME)
        output = msgspec.structs.replace(record.output, name=record.output.name or OUTPUT_NAME)
        return msgspec.structs.replace(record, input=tensor, output=output)
    lines = draw_record(read_network_facts(source), like=record)
    found = {key: line.value for key, line in lines.items()}
    _check_size((found["input.height"], found["input.width"]), record, source)
    if left := list_open(lines):
        raise _refuse_open(left, record, source)
    if (count := found["output.class_count"]) != record.output.class_count:
        raise BadModelError(
            f"{source} has {count} classes, {record.name} has {record.output.class_count:,}",
            hint="a network that was trained on has other classes than the published one: "
            f"{_advise_inspecting(record, source)}",
        )
    drawn = build_record(lines)
    parts = {"input": drawn.input, "preprocessing": drawn.preprocessing, "output": drawn.output}
    return msgspec.structs.replace(record, **parts)


def _check_size(found: tuple[object, object], record: ModelRecord, source: Path) -> None:
    """Refuse a file that takes pictures of another size than the record's."""
    wanted = (record.input.height, record.input.width)
    if all(size in (None, side) for size, side in zip(found, wanted, strict=True)):
        return
    others = [name for name, size in list_other_sizes(record.name) if found == (size, size)]
    hint = f"export it for {wanted[0]}x{wanted[1]}, or change the record: assay models {record.name} "
    hint += "-o record.toml writes it, and --model record.toml takes it"
    raise BadModelError(
        f"{source} takes pictures of {found[0]}x{found[1]}, {record.name} is for {wanted[0]}x{wanted[1]}",
        hint=f"give --model {others[0]}" if others else hint,
    )


def _refuse_open(left: Sequence[RecordLine], record: ModelRecord, source: Path) -> BadModelError:
    reasons = "; ".join(f"{line.key}: {line.source}" for line in left)
    return BadModelError(
        f"{source}: {record.name} leaves open what the file does not tell either: {reasons}",
        hint=_advise_inspecting(record, source),
    )


def _advise_inspecting(record: ModelRecord, source: Path) -> str:
    return (
        f"assay inspect {source} --like {record.name} -o record.toml writes a record to fill in, and "
        "--model record.toml takes it"
    )
