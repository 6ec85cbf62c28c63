"""Which model record goes with a file: the named one, the one stored in the ONNX file, or the default."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.defaults import DEFAULT_MODEL
from assay.errors import BadModelError, UsageError, shorten
from assay.models.complete_record import complete_record
from assay.models.onnx_file import read_onnx_file
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

RECORD_KEY = "assay.model_record"
"""Of an ONNX file's metadata: the record as JSON."""
_METADATA_FIELD, _KEY_FIELD, _VALUE_FIELD = 14, 1, 2  # ModelProto and StringStringEntryProto of onnx.proto


def choose_record(model: str, source: Path) -> ModelRecord:
    """The record of `source`: the named one; else, of an ONNX file, the one stored in it; else the default.

    Args:
        model: Name of a model record, or the path of one; empty where none was given.
        source: An ONNX file or a checkpoint.

    Raises:
        UsageError: An ONNX file without a record, and none was named.
        BadModelError: The record or the ONNX file cannot be read.
    """
    if model:
        return complete_record(read_model_record(model), source)
    if source.suffix.lower() != ".onnx":
        return read_model_record(DEFAULT_MODEL)
    record = read_stored_record(source)
    if record is None:
        raise UsageError(
            f"{source} does not say which model it is, so its preprocessing and classes are not known",
            hint="give its model record with --model NAME_OR_TOML (docs/how-to/own-classifier.md); "
            "files made by `assay export` and `assay quantize` carry theirs",
        )
    return record


def read_stored_record(onnx_path: Path) -> ModelRecord | None:
    """The record that assay stored in the ONNX file, or None where there is none.

    Raises:
        BadModelError: The file cannot be read, or its record is of another version of assay.
    """
    text = read_onnx_file(onnx_path).metadata.get(RECORD_KEY)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=ModelRecord)
    except msgspec.DecodeError as error:
        raise BadModelError(
            f"{onnx_path}: the model record stored in it cannot be read: {shorten(error)}",
            hint="give the record with --model NAME_OR_TOML",
        ) from error


def store_record(onnx_path: Path, record: ModelRecord) -> None:
    """Store the record in an ONNX file that has none: its metadata grows by one entry at the file's end.

    Protobuf adds a repeated field that stands behind a message to that message, so nothing is rewritten.
    """
    value = msgspec.json.encode(record)
    entry = _encode_field(_KEY_FIELD, RECORD_KEY.encode()) + _encode_field(_VALUE_FIELD, value)
    with onnx_path.open("ab") as file:
        file.write(_encode_field(_METADATA_FIELD, entry))


def describe_choice(record: ModelRecord, source: Path) -> list[str]:
    """What a user should know of the record that was chosen for a file; mostly nothing."""
    notes = [f"model record {record.name}: {oddity}" for oddity in record.preprocessing.list_oddities()]
    if source.suffix.lower() != ".onnx":
        return notes
    try:
        stored = read_stored_record(source)
    except BadModelError:
        return notes  # --model stands in for one that cannot be read
    if stored is not None and stored != record:
        notes.append(f"{source} carries another model record, {stored.name}; --model's {record.name} is used")
    return notes


def _encode_field(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | 2) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
