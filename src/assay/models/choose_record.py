"""Which model record goes with a file: the named one, the one in it or drawn from it, or the default."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.defaults import DEFAULT_MODEL
from assay.errors import BadModelError, UsageError, shorten
from assay.files import decode_json
from assay.models.complete_record import complete_record
from assay.models.hugging_face.draw_record import read_folder_lines, read_folder_record
from assay.models.hugging_face.folder import find_model_file, is_model_folder, refuse_hub_name
from assay.models.inspection.contradictions import find_contradictions
from assay.models.inspection.draw_record import draw_record
from assay.models.inspection.facts import read_network_facts
from assay.models.inspection.record_lines import (
    Lines,
    build_record,
    describe_line,
    list_open,
    sort_lines,
)
from assay.models.model_file import is_model_file, read_model_file
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

RECORD_KEY = "assay.model_record"
"""Of an ONNX file's metadata: the record as JSON."""
# Of lines that hold what the graph shows anyway
_PLAIN_SOURCES = (
    "(the file's graph)",
    "(the form of records)",
    "(the file's name)",
    "(ONNX file)",
    " IR file)",
)
_METADATA_FIELD, _KEY_FIELD, _VALUE_FIELD = 14, 1, 2  # ModelProto and StringStringEntryProto of onnx.proto


def choose_record(model: str, source: Path) -> ModelRecord:
    """The record of `source`: the named one; else the one stored in it, or drawn from it; else the default.

    Args:
        model: Name of a model record, or the path of one; empty where none was given.
        source: An ONNX file, a checkpoint, or a folder of the Hugging Face hub, which gives its own record.

    Raises:
        UsageError: None was named, and the file carries none and leaves lines of its record open.
        BadModelError: The record or the file cannot be read.
    """
    if model:
        return complete_record(read_model_record(model), _find_graph(source))
    if is_model_folder(source):
        return complete_record(read_folder_record(source), _find_graph(source))
    refuse_hub_name(source)
    if source.is_dir():
        raise UsageError(
            f"folder {source} holds no config.json, so its network and preprocessing are not known",
            hint="download the whole folder (hf download NAME --local-dir DIR), or give --model NAME_OR_TOML",
        )
    if not describes_itself(source):
        return read_model_record(DEFAULT_MODEL)
    return read_stored_record(source) or build_record(_draw_whole(source))


def describes_itself(source: Path) -> bool:
    """Whether the file is of a form that holds a graph, from which a record can be drawn."""
    return is_model_file(source)


def _find_graph(source: Path) -> Path | None:
    """The file with a graph, or that of a folder; None for a checkpoint."""
    model_file = find_model_file(source)
    return model_file if describes_itself(model_file) else None


def _draw_whole(source: Path) -> Lines:
    """The lines of the record that the file itself gives.

    Raises:
        UsageError: Some are open.
    """
    facts = read_network_facts(source)
    lines = draw_record(facts)
    if not (left := list_open(lines)):
        return lines
    known = [each.record_name for each in facts.architectures]
    looks = f" (its tensors are those of {', '.join(known[:3])})" if known else ""
    command = f"assay inspect {source} --like {known[0] if known else 'RECORD'} -o record.toml"
    raise UsageError(
        f"{source} does not say all of its model record; open: {', '.join(line.key for line in left)}",
        hint=f"give it with --model NAME_OR_TOML{looks}; `{command}` draws one from the file and a record "
        "of the same preprocessing (assay help own-classifier)",
    )


def list_sources(record: ModelRecord, source: Path) -> list[str]:
    """Where each line comes from of a record that was drawn from the file itself; empty for any other."""
    if is_model_folder(source):
        lines = read_folder_lines(source)
        is_its_own = complete_record(build_record(lines), _find_graph(source)) == record
        return [describe_line(line) for line in sort_lines(lines)] if is_its_own else []
    if not describes_itself(source):
        return []
    try:
        lines = draw_record(read_network_facts(source))
        if read_stored_record(source) is not None or list_open(lines) or build_record(lines) != record:
            return []
    except (BadModelError, UsageError):
        return []  # a record that was named stands in for one that cannot be drawn
    return [describe_line(line) for line in sort_lines(lines)]


def read_stored_record(onnx_path: Path) -> ModelRecord | None:
    """The record that assay stored in the ONNX file, or None where there is none.

    Raises:
        BadModelError: The file cannot be read, or its record is of another version of assay.
    """
    text = read_model_file(onnx_path).metadata.get(RECORD_KEY)
    if text is None:
        return None
    try:
        return decode_json(text, kind=ModelRecord)
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
    if sources := list_sources(record, source):
        telling = [each for each in sources if not each.endswith(_PLAIN_SOURCES)]
        notes.append(f"the model record is drawn from {source}: {'; '.join(telling)}")
    if not describes_itself(source):
        return notes
    try:
        stored, facts = read_stored_record(source), read_network_facts(source)
    except BadModelError:
        return notes  # --model stands in for one that cannot be read
    if stored is not None and stored != record:
        notes.append(f"{source} carries another model record, {stored.name}; --model's {record.name} is used")
    return notes + [f"{source}: {one}" for one in find_contradictions(facts, record)]


def _encode_field(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | 2) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
