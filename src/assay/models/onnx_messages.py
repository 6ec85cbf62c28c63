"""An ONNX file's protobuf messages, read without the onnx package and without its weights.

Field numbers: onnx.proto of ONNX 1.23; wire format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "Model": {
        1: ("ir_version", "number"),
        2: ("producer_name", "text"),
        3: ("producer_version", "text"),
        7: ("graph", "Graph"),
        8: ("opset_import", "OperatorSet"),
        14: ("metadata_props", "Entry"),
        25: ("functions", "Function"),
    },
    "OperatorSet": {1: ("domain", "text"), 2: ("version", "number")},
    "Entry": {1: ("key", "text"), 2: ("value", "text")},
    "Graph": {
        1: ("node", "Node"),
        2: ("name", "text"),
        5: ("initializer", "Tensor"),
        11: ("input", "ValueInfo"),
        12: ("output", "ValueInfo"),
        15: ("sparse_initializer", "SparseTensor"),
    },
    "Function": {1: ("name", "text"), 7: ("node", "Node")},
    "Node": {
        1: ("input", "text"),
        2: ("output", "text"),
        3: ("name", "text"),
        4: ("op_type", "text"),
        5: ("attribute", "Attribute"),
        7: ("domain", "text"),
    },
    "Attribute": {
        1: ("name", "text"),
        2: ("f", "floats"),
        3: ("i", "number"),
        5: ("t", "Tensor"),
        6: ("g", "Graph"),
        7: ("floats", "floats"),
        8: ("ints", "number"),
        10: ("tensors", "Tensor"),
        11: ("graphs", "Graph"),
        22: ("sparse_tensor", "SparseTensor"),
        23: ("sparse_tensors", "SparseTensor"),
    },
    "SparseTensor": {1: ("values", "Tensor"), 2: ("indices", "Tensor")},
    "Tensor": {
        1: ("dims", "number"),
        2: ("data_type", "number"),
        4: ("float_data", "floats"),
        5: ("int32_data", "number"),
        7: ("int64_data", "number"),
        8: ("name", "text"),
        9: ("raw_data", "bytes"),
        13: ("external_data", "Entry"),
        14: ("data_location", "number"),
    },
    "ValueInfo": {1: ("name", "text"), 2: ("type", "Type")},
    "Type": {1: ("tensor_type", "TensorType")},
    "TensorType": {1: ("elem_type", "number"), 2: ("shape", "Shape")},
    "Shape": {1: ("dim", "Dimension")},
    "Dimension": {1: ("dim_value", "number"), 2: ("dim_param", "text")},
}
_MOST_MESSAGES = 500_000  # each takes 1 KiB of memory, and as little as 2 bytes of a file
_SMALL = 64  # bytes: longer values of this scanner's fields are weights


@dataclass(slots=True)
class Message:
    """One protobuf message: the values of its fields by name, as far as the schema names them."""

    kind: str
    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    floats: dict[str, list[float]] = field(default_factory=dict)
    contents: dict[str, list[bytes]] = field(default_factory=dict)
    messages: dict[str, list[Message]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)  # where bytes begin in the file

    def text(self, name: str) -> str:
        """The field's text, its last where it stands there twice; empty where it is not there."""
        return self.texts.get(name, [""])[-1]

    def number(self, name: str) -> int:
        """The field's number, its last; 0 where it is not there."""
        return self.numbers.get(name, [0])[-1]

    def children(self, name: str) -> list[Message]:
        """The messages in that field."""
        return self.messages.get(name, [])


def read_messages(data: mmap.mmap) -> Iterator[Message]:
    """Yield the model and all messages in it; a list of what is left, not recursion: files nest at will."""
    model = Message("Model")
    waiting = [(model, 0, len(data))]
    message_count = 0
    while waiting:
        message, start, end = waiting.pop()
        yield message
        schema = _SCHEMA[message.kind]
        for number, value in _read_fields(data, start, end):
            name, kind = schema.get(number, ("", ""))
            if not name:
                continue
            if kind == "number":
                _add_values(message.numbers, name, [*_read_numbers(data, value)])
            elif isinstance(value, int):
                raise ValueError(f"{message.kind}.{name} is a number")
            elif kind == "text":
                message.texts.setdefault(name, []).append(data[value[0] : value[1]].decode("utf-8"))
            elif kind == "floats":
                values = data[value[0] : min(value[1], value[0] + _SMALL)]
                _add_values(message.floats, name, _read_floats(values))
            elif kind == "bytes":
                message.places[name] = value[0]
                message.contents.setdefault(name, []).append(
                    data[value[0] : min(value[1], value[0] + _SMALL)]
                )
            else:
                child = Message(kind)
                message_count += 1
                if message_count > _MOST_MESSAGES:
                    raise ValueError(f"more than {_MOST_MESSAGES:,} parts")
                message.messages.setdefault(name, []).append(child)
                waiting.append((child, *value))


def _add_values(fields: dict[str, list[Any]], name: str, values: Sequence[int | float]) -> None:
    """Add values to a field; a packed list may hold none, and then the field is not there."""
    if values:
        fields.setdefault(name, []).extend(values)


def _read_fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Yield each field's number, and its value: an integer, or where its bytes begin and end."""
    place = start
    while place < end:
        key, place = _read_varint(data, place, end)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, place = _read_varint(data, place, end)
            yield number, value
            continue
        if wire_type == 2:
            size, place = _read_varint(data, place, end)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {place}")
        if number == 0 or place + size > end:
            raise ValueError(f"it ends within a field, at byte {end}")
        yield number, (place, place + size)
        place += size


def _read_varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """The integer that begins at `place`, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError(f"it ends within a number, at byte {end}")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"a number of more than 10 bytes at byte {place}")


def _read_numbers(data: mmap.mmap, value: int | tuple[int, int]) -> Iterator[int]:
    """Yield one integer, or those that stand packed in a field's bytes."""
    if isinstance(value, int):
        yield _to_signed(value)
        return
    place, end = value[0], min(value[1], value[0] + _SMALL)
    while place < end:
        number, place = _read_varint(data, place, value[1])
        yield _to_signed(number)


def _read_floats(values: bytes) -> tuple[float, ...]:
    count = len(values) // 4
    return struct.unpack(f"<{count}f", values[: 4 * count])


def _to_signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
