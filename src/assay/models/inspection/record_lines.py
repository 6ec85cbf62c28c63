"""The lines of a model record, each with where it comes from, and what of them is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from assay.errors import UsageError, quote, shorten
from assay.models.preprocessing import Preprocessing
from assay.models.record import InputTensor, ModelRecord, OutputTensor
from assay.models.write_record import write_value

State = Literal["known", "default", "guess", "open"]
_SHOWN_NAMES = 3
TABLES: dict[str, type[msgspec.Struct]] = {
    "input": InputTensor,
    "preprocessing": Preprocessing,
    "output": OutputTensor,
}


class Likely(msgspec.Struct, frozen=True, kw_only=True):
    """What an open line is likely to be.

    Args:
        lines: As they stand in the table, "mean = [0.5, 0.5, 0.5]", with those that belong to it.
        reason: Whose it is.
    """

    lines: tuple[str, ...]
    reason: str


class RecordLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a record.

    Args:
        key: With its table, "preprocessing.mean".
        value: As TOML holds it; None where it is open.
        source: Where it comes from, or why it is open.
        state: "known" of the file or of what the user gave; "default" of the record's form; "guess" for a
            value that is likely and used; "open" for one that the user has to decide.
        likely: What an open line is likely to be.
    """

    key: str
    value: object
    source: str
    state: State = "known"
    likely: tuple[Likely, ...] = ()


Lines = dict[str, RecordLine]


def make_open_line(key: str, why: str, likely: Mapping[str, str] | None = None) -> RecordLine:
    """A line that is open; what it is likely to be by whose it is, several lines separated by line ends."""
    guesses = (
        Likely(lines=tuple(text.split("\n")), reason=reason) for reason, text in (likely or {}).items()
    )
    return RecordLine(key=key, value=None, source=why, state="open", likely=tuple(guesses))


def list_open(lines: Mapping[str, RecordLine]) -> list[RecordLine]:
    """The lines that the user has to decide."""
    return [line for line in lines.values() if line.state == "open"]


def sort_lines(lines: Mapping[str, RecordLine]) -> list[RecordLine]:
    """The lines in the order in which a record has its keys."""
    order = {key: place for place, key in enumerate(_list_keys())}
    return sorted(lines.values(), key=lambda line: order.get(line.key, len(order)))


def build_record(lines: Mapping[str, RecordLine]) -> ModelRecord:
    """The record that the lines are.

    Raises:
        UsageError: A line is open, or the lines contradict one another.
    """
    if left := list_open(lines):
        raise UsageError(f"the model record is open in {', '.join(line.key for line in left)}")
    content: dict[str, object] = {}
    for line in lines.values():
        table, _, key = line.key.rpartition(".")
        inner = content.setdefault(table, {}) if table else content
        assert isinstance(inner, dict)
        inner[key] = line.value
    try:
        return msgspec.convert(content, ModelRecord)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the lines of the model record do not fit together: {shorten(error)}",
            hint="assay help model-record lists the keys",
        ) from error


def describe_line(line: RecordLine) -> str:
    """A line with its source, in words: `mean = [0.0, 0.0, 0.0] (ultralytics 8.3.40)`."""
    guess = "a guess: " if line.state == "guess" else ""
    return f"{line.key} = {write_short_value(line.value)} ({guess}{line.source})"


def write_short_value(value: object) -> str:
    """The value as TOML writes it, a long list of names and a table by its first few."""
    if isinstance(value, (tuple, list)) and len(value) > _SHOWN_NAMES and isinstance(value[0], str):
        return f"[{', '.join(map(write_value, value[:_SHOWN_NAMES]))}, … {len(value):,} in all]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(map(str, [*value][:_SHOWN_NAMES]))}, … {len(value):,} keys in all }}"
    return write_value(list(value) if isinstance(value, tuple) else value)


def list_record_lines(record: ModelRecord, tables: Sequence[str], source: str) -> Iterator[RecordLine]:
    """Yield the lines of some of a record's tables, without those that hold their defaults."""
    for table in tables:
        struct = getattr(record, table)
        for field in msgspec.structs.fields(struct):
            value = getattr(struct, field.name)
            if value != field.default:
                yield RecordLine(key=f"{table}.{field.encode_name}", value=value, source=source)


def parse_lines(given: Sequence[str]) -> Lines:
    """The lines that a user gives as KEY=VALUE, the value as TOML writes it; a word needs no quotes.

    >>> parse_lines(["preprocessing.mean=[0.5, 0.5, 0.5]"])["preprocessing.mean"].value
    [0.5, 0.5, 0.5]

    Raises:
        UsageError: Not KEY=VALUE, no key of a record, or given twice.
    """
    lines: Lines = {}
    keys = _list_keys()
    for text in given:
        key, equals, value = (each.strip() for each in text.partition("="))
        if not (key and equals and value):
            raise UsageError(
                f"--set {quote(text)}: expected KEY=VALUE, such as preprocessing.resize_side=256"
            )
        if key not in keys:
            raise UsageError(
                f"--set {quote(text)}: a model record has no key {quote(key)}",
                hint="assay help model-record lists the keys",
            )
        if key in lines:
            raise UsageError(f"--set: {key} is given twice")
        lines[key] = RecordLine(key=key, value=_parse_value(value), source="given with --set")
    return lines


def _parse_value(text: str) -> object:
    try:
        return msgspec.toml.decode(f"value = {text}")["value"]
    except msgspec.DecodeError:
        return text


def _list_keys() -> list[str]:
    inner = [
        f"{table}.{field.encode_name}"
        for table, kind in TABLES.items()
        for field in msgspec.structs.fields(kind)
    ]
    return ["schema_version", "name", "architecture", "architecture_options", *inner]
