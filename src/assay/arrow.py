"""Arrow arrays from Python and numpy, and back, without pandas.

pyarrow's own ways import pandas where it is installed, to ask whether they were given a Series: 28 MiB,
and the better part of a second.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

_NUMBERS: dict[pyarrow.DataType, type[np.generic]] = {
    pyarrow.int32(): np.int32,
    pyarrow.int64(): np.int64,
    pyarrow.float32(): np.float32,
    pyarrow.float64(): np.float64,
}
_TEXTS: dict[pyarrow.DataType, type[np.signedinteger[Any]]] = {
    pyarrow.string(): np.int32,
    pyarrow.binary(): np.int32,
    pyarrow.large_string(): np.int64,
    pyarrow.large_binary(): np.int64,
}


def make_array(values: Sequence[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    """The values as an array; None is null.

    Args:
        values: Numbers, texts, bytes, or sequences of numbers.
        kind: int32, int64, float32, float64, string or binary, or a list of such numbers.
    """
    is_there = [value is not None for value in values]
    valid = None if all(is_there) else pyarrow.py_buffer(np.packbits(is_there, bitorder="little"))
    if pyarrow.types.is_list(kind):
        rows = [() if value is None else value for value in values]
        numbers = [*itertools.chain.from_iterable(rows)]
        buffers = [valid, _add_up(map(len, rows), len(rows), np.int32)]
        children = [make_array(numbers, kind.value_type)]
        return pyarrow.Array.from_buffers(kind, len(rows), buffers, children=children)
    if kind in _TEXTS:
        texts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        ends = _add_up(map(len, texts), len(texts), _TEXTS[kind])
        return pyarrow.Array.from_buffers(kind, len(texts), [valid, ends, pyarrow.py_buffer(b"".join(texts))])
    found = np.array([0 if value is None else value for value in values], dtype=_NUMBERS[kind])
    return pyarrow.Array.from_buffers(kind, len(found), [valid, pyarrow.py_buffer(found)])


def view_numbers(numbers: npt.NDArray[Any]) -> pyarrow.Array:
    """The numbers as an array that shares their memory."""
    kind = pyarrow.from_numpy_dtype(numbers.dtype)
    contiguous = np.ascontiguousarray(numbers)
    return pyarrow.Array.from_buffers(kind, len(contiguous), [None, pyarrow.py_buffer(contiguous)])


def view_mask(mask: npt.NDArray[np.bool_]) -> pyarrow.Array:
    """The mask as an array of booleans."""
    bits = pyarrow.py_buffer(np.packbits(mask, bitorder="little"))
    return pyarrow.Array.from_buffers(pyarrow.bool_(), len(mask), [None, bits])


def _add_up(lengths: Iterable[int], count: int, kind: type[np.signedinteger[Any]]) -> pyarrow.Buffer:
    """The buffer of where values of these lengths begin, and where the last one ends."""
    ends = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, count), out=ends[1:])
    if ends[-1] > np.iinfo(kind).max:
        raise OverflowError(
            f"{ends[-1]:,} bytes of values; an array of this kind holds {np.iinfo(kind).max:,}"
        )
    return pyarrow.py_buffer(ends.astype(kind))
