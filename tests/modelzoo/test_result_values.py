"""The fast reading of the inference tool's text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.modelzoo import result_values
from assay.modelzoo.result_files import ResultFile
from assay.modelzoo.result_values import parse_lines, read_values

try:
    from assay.modelzoo import _numbers
except ImportError:
    _numbers = None  # type: ignore[assignment]

needs_extension = pytest.mark.skipif(_numbers is None, reason="there was no C compiler")


def read_with_float(line: str) -> np.ndarray:
    return np.array([[float(text) for text in line.split()]], dtype=np.float64)


def expect_what_float_reads(line: str, count: int) -> None:
    parsed = parse_lines((line.encode(),), count)
    assert parsed is not None
    assert parsed.tobytes() == read_with_float(line).tobytes()


@needs_extension
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@pytest.mark.parametrize("form", ["f", "e", "g", ".3g", ".17g", ".25f", "r"])
def test_numbers_in_any_form_are_bit_by_bit_what_float_makes_of_them(form: str, values: list[float]) -> None:
    words = [repr(value) if form == "r" else format(value, form) for value in values]
    expect_what_float_reads(" ".join(words) + " \n", len(words))


@needs_extension
@given(
    st.integers(2**53 - 3, 2**53 + 3) | st.integers(0, 10**20) | st.just(0),
    st.integers(-30, 30) | st.integers(-400, 400) | st.sampled_from([-22, -23, 22, 23, -(10**12), 10**12]),
    st.sampled_from(["", "-", "+", "-000"]),
)
@example(9007199254740993, 0, "")  # half way between two doubles
@example(1, 309, "-")  # an infinity
@example(5, -324, "")  # the smallest there is
@example(0, 0, "-")
def test_digits_and_powers_at_the_limits_of_exact_doubles_are_what_float_makes_of_them(
    digits: int, exponent: int, sign: str
) -> None:
    expect_what_float_reads(f"{sign}{digits}E{exponent:+}", 1)
    expect_what_float_reads(f"\t{sign}{digits}.  {sign}.{digits}e{exponent}\r\n", 2)


@given(st.text(alphabet="0123456789.-+ naifeE_x,\t\n\0\u00b2", max_size=24))
def test_any_other_line_is_read_as_float_does_or_not_at_all(line: str) -> None:
    count = len(line.split())
    parsed = parse_lines((line.encode(),), count)
    if parsed is not None:
        np.testing.assert_array_equal(parsed, read_with_float(line).reshape(1, count))


@pytest.mark.parametrize(
    "line",
    [b"", b" ", b"1.0 2.0 ", b"1_0 ", b"1.0,2.0 ", b"nan ", b"inf", b"0x1p3", b"1e", b"1e+ ", b".", b"-",
     b"- 1", b"1.0\n2.0\n", b"\n1.0", b"1.0\0", b"1.0\x0b", b"1.0f", b"1.0-2.0", b"\xd9\xa3"],
)  # fmt: skip
def test_what_is_no_line_of_so_many_numbers_is_not_parsed(line: bytes) -> None:
    assert parse_lines((line,), 1) is None


def test_every_line_must_have_the_number_of_values() -> None:
    assert parse_lines((b"1.0 2.0 3.0 ", b"4.0 "), 2) is None
    assert parse_lines((b"1.0 2.0 ", b"3.0 4.0 5.0"), 2) is None


@needs_extension
@pytest.mark.parametrize(
    ("lines", "out"),
    [
        ([b"1"], np.empty((1, 1))),
        (("1",), np.empty((1, 1))),
        ((b"1",), np.empty((2, 1))),
        ((b"1",), np.empty(1)),
        ((b"1",), np.empty((1, 1), dtype=np.float32)),
        ((b"1", b"2"), np.empty((2, 2))[:, ::2]),
    ],
)
def test_arrays_and_lines_of_another_kind_are_refused(lines: object, out: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError)):
        _numbers.parse_lines(lines, out)  # type: ignore[arg-type]


def test_without_the_extension_files_are_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 7))
    files = []
    for number, row in enumerate(rows):
        name = f"{number:02d}_0.txt"
        (tmp_path / name).write_text(" ".join(map(repr, row.tolist())) + "\n")
        files.append(ResultFile(f"{tmp_path / name}", name, name[:2], 0))
    fast = np.concatenate(list(read_values(files, 7)))
    monkeypatch.setattr(result_values, "_compiled", None)
    slow = np.concatenate(list(read_values(files, 7)))
    assert fast.tobytes() == slow.tobytes() == rows.tobytes()
