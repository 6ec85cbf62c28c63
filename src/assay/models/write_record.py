"""A model record as the text of a TOML file."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from assay.errors import BadModelError
from assay.models.record import ModelRecord

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_record_toml(record: ModelRecord) -> str:
    """The record as TOML, which `read_model_record` reads as the same record; defaults are left out.

    Args:
        record: The record.

    >>> from assay.models.read_record import read_model_record
    >>> write_record_toml(read_model_record("se_resnext50_32x4d")).splitlines()[1]
    'name = "se_resnext50_32x4d"'
    """
    return "\n".join(_write_table("", _drop_defaults(record))) + "\n"


def _drop_defaults(value: object) -> object:
    """The value as dicts, lists, text and numbers, without the fields that hold their defaults."""
    if isinstance(value, msgspec.Struct):
        fields = _list_fields(type(value))
        content = {field.encode_name: getattr(value, field.name) for field in fields}
        defaults = {field.encode_name: _find_default(field) for field in fields}
        return {key: _drop_defaults(each) for key, each in content.items() if each != defaults[key]}
    if isinstance(value, list | tuple):
        return [_drop_defaults(each) for each in value]
    return value


def _find_default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


@functools.cache
def _list_fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _write_table(path: str, table: object) -> Iterator[str]:
    """Yield the lines of a table: its own keys, then the tables and lists of tables in it."""
    assert isinstance(table, Mapping)
    inner = {key: value for key, value in table.items() if _is_table(value) or _is_list_of_tables(value)}
    for key, value in table.items():
        if key not in inner:
            yield f"{_write_key(key)} = {write_value(value)}"
    for key, value in inner.items():
        name = f"{path}{_write_key(key)}"
        for each in value if isinstance(value, list) else [value]:
            yield ""
            yield f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            yield from _write_table(f"{name}.", each)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))


def write_value(value: object) -> str:
    """The value as TOML writes it within one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, Mapping):  # numbers by numbers: images per second by batch size
        pairs = (f"{_write_key(key)} = {write_value(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if value is None:
        raise BadModelError(
            "the record holds a null, of a configuration of transformers, which TOML cannot write",
            hint="give the folder itself as --weights, without --model",
        )
    return repr(value)  # int and float: TOML writes them as Python does, 1e-05 too


def _write_key(key: object) -> str:
    text = str(key)
    return text if _BARE_KEY.fullmatch(text) else _write_text(text)


def _write_text(text: str) -> str:
    """A basic string of TOML; JSON's escapes are among TOML's, but for DEL, which JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
