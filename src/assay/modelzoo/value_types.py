"""Tells float32 result files from those of another type: a `.bin` file holds no word about it.

What is no float32 is refused instead of guessed: `--dtype` says the type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

ValueType = Literal["float32", "float16", "float64", "int32", "int8", "uint8"]

# Outside, a float32 logit is none: float16 pairs, int32 and halves of float64 read as float32 mostly are.
_SMALLEST, _LARGEST = 1e-12, 1e5
_SHARE_TOLERANCE = 0.02  # of a sum of 1000 float16 probabilities
_WHOLE_NUMBERS = re.compile(rb"[0-9]{1,5}(?: [0-9]{1,5})* ?")

Values = npt.NDArray[np.number]


def find_other_type(contents: Sequence[bytes]) -> str:
    """What the `.bin` files of a network hold if it is not float32, in words; "" for float32.

    >>> find_other_type([np.array([9.5, -3.25, 0.5, 12.0], dtype=np.float16).tobytes()])
    'float16'

    Args:
        contents: Of several files, each of one image.
    """
    sizes = {len(content) for content in contents}
    if any(size % 4 for size in sizes):
        return "float16, int8 or uint8, or files cut short"
    if len(sizes) > 1 or 0 in sizes:
        return ""  # of different networks, or cut short: what reads them says so
    content = b"".join(contents)
    rows = np.frombuffer(content, dtype=np.float32).reshape(len(contents), -1)  # (files, values)
    others = [name for name, fits in _TESTS.items() if fits(content, len(contents))]
    if _are_shares(rows):
        return ""
    if _has_odd_float32(rows):
        return " or ".join(others) or "int8, uint8 or another type"
    halves = np.frombuffer(content, dtype=np.float16).reshape(len(contents), -1)  # (files, values)
    return "float16" if _are_shares(halves) else ""


def holds_bit_patterns(line: bytes) -> bool:
    """Whether a line of text holds float16 values as the whole numbers that their bits make.

    ais_bench prints them so with `--pipeline`.

    >>> holds_bit_patterns(b"18560 49792 14336 15360 "), holds_bit_patterns(b"3 120 7 ")
    (True, False)
    """
    if not _WHOLE_NUMBERS.fullmatch(line):
        return False
    numbers = [int(word) for word in line.split()]
    return max(numbers) < 2**16 and _fits_float16(np.array(numbers, dtype=np.uint16).tobytes(), 1)


def _are_shares(rows: Values) -> bool:
    """Whether every row looks like probabilities: 0 to 1, with a sum of 1."""
    if not np.isfinite(rows).all() or rows.min() < 0:
        return False
    exact = rows.astype(np.float64)  # (files, values)
    return bool((np.abs(exact.sum(axis=1) - 1) <= _SHARE_TOLERANCE).all())


def _has_odd_float32(rows: Values) -> bool:
    sizes = np.abs(rows[rows != 0])
    return not np.isfinite(sizes).all() or bool(((sizes < _SMALLEST) | (sizes > _LARGEST)).any())


def _fits_float16(content: bytes, row_count: int) -> bool:
    rows = np.frombuffer(content, dtype=np.float16).reshape(row_count, -1)  # (files, values)
    return _are_shares(rows) or _are_logits(rows, smallest=1e-4, largest=2000)


def _fits_float64(content: bytes, row_count: int) -> bool:
    if len(content) % (8 * row_count):
        return False
    rows = np.frombuffer(content, dtype=np.float64).reshape(row_count, -1)  # (files, values)
    return _are_shares(rows) or _are_logits(rows, smallest=1e-9, largest=_LARGEST)


def _are_logits(rows: Values, *, smallest: float, largest: float) -> bool:
    sizes = np.abs(rows[rows != 0])
    if not len(sizes) or not np.isfinite(sizes).all() or sizes.max() > largest:
        return False
    return bool((sizes >= smallest).mean() > 0.98)


def _fits_int32(content: bytes, row_count: int) -> bool:  # noqa: ARG001 - a row more or less tells nothing
    values = np.frombuffer(content, dtype=np.int32)
    return bool(values.any()) and int(np.abs(values.astype(np.int64)).max()) < 2**20


_TESTS = {"float16": _fits_float16, "float64": _fits_float64, "int32": _fits_int32}
