"""A record whose tensors are not named yet, with the names that the model file gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from assay.errors import BadModelError, quote
from assay.models.check_network import fits_logits
from assay.models.onnx_file import Port, read_onnx_file
from assay.models.published.find import list_other_sizes
from assay.models.record import InputTensor, ModelRecord

INPUT_NAME, OUTPUT_NAME = "image", "class"
"""Of the ONNX files that assay exports."""
_FLOATS = ("float32", "float16", "float64")


def complete_record(record: ModelRecord, source: Path) -> ModelRecord:
    """The record with a name for each tensor: its own, else that of the ONNX file, else assay's.

    A record by a library's name knows the pictures and the classes, and nothing of the file. Where it names
    no input, the input's layout and whether it is float16 are the file's too.

    Args:
        record: The record.
        source: An ONNX file or a checkpoint.

    Raises:
        BadModelError: The ONNX file cannot be read, takes pictures of another size, or has several inputs or
            outputs that could be meant.
    """
    if record.input.name and record.output.name:
        return record
    if source.suffix.lower() != ".onnx":
        tensor = msgspec.structs.replace(record.input, name=record.input.name or INPUT_NAME)
        output = msgspec.structs.replace(record.output, name=record.output.name or OUTPUT_NAME)
        return msgspec.structs.replace(record, input=tensor, output=output)
    found = read_onnx_file(source)
    tensor = record.input if record.input.name else _read_input(found.inputs, record, source)
    name = record.output.name or _find_output(found.outputs, record, source)
    output = msgspec.structs.replace(record.output, name=name)
    return msgspec.structs.replace(record, input=tensor, output=output)


def _read_input(ports: Sequence[Port], record: ModelRecord, source: Path) -> InputTensor:
    if len(ports) != 1:
        raise _refuse_choice("input", ports, record, source)
    (port,) = ports
    tensor = record.input
    is_last = port.shape is not None and len(port.shape) == 4 and port.shape[3] == tensor.channels
    is_last = is_last and port.shape is not None and port.shape[1] != tensor.channels
    _check_size(port, record, source, is_last=is_last)
    return msgspec.structs.replace(
        tensor,
        name=port.name,
        layout="NHWC" if is_last else tensor.layout,
        dtype="float16" if port.dtype == "float16" else tensor.dtype,
    )


def _check_size(port: Port, record: ModelRecord, source: Path, *, is_last: bool) -> None:
    """Refuse a file that takes pictures of another size than the record's."""
    if port.shape is None or len(port.shape) != 4:
        return
    height, width = port.shape[1:3] if is_last else port.shape[2:]
    tensor = record.input
    if height in (None, tensor.height) and width in (None, tensor.width):
        return
    wanted = f"{tensor.height}x{tensor.width}"
    others = [name for name, size in list_other_sizes(record.name) if size == height == width]
    hint = f"export it for {wanted}, or change the record: assay models {record.name} -o record.toml writes "
    hint += "it, and --model record.toml takes it"
    raise BadModelError(
        f"{source}: input {quote(port.name)} takes pictures of {height or 'any'}x{width or 'any'}, "
        f"{record.name} is for {wanted}",
        hint=f"give --model {others[0]}" if others else hint,
    )


def _find_output(ports: Sequence[Port], record: ModelRecord, source: Path) -> str:
    count = record.output.class_count
    fitting = [
        port
        for port in ports
        if port.dtype in _FLOATS and (port.shape is None or fits_logits(port.shape, count))
    ]
    if len(ports) == 1:
        return ports[0].name  # check_network says what is wrong with it
    if len(fitting) != 1:
        raise _refuse_choice("output", ports, record, source)
    return fitting[0].name


def _refuse_choice(kind: str, ports: Sequence[Port], record: ModelRecord, source: Path) -> BadModelError:
    names = ", ".join(quote(port.name) for port in ports[:5])
    return BadModelError(
        f"{source} has {len(ports)} {kind}s ({names}), and {record.name} does not say which one is meant",
        hint=f"assay models {record.name} -o record.toml writes the record: set {kind}.name there, and give "
        "--model record.toml",
    )
