"""The fast reading of the inference tool's text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.modelzoo.result_values import parse_lines


def read_with_float(line: str) -> np.ndarray:
    return np.array([[float(text) for text in line.split()]], dtype=np.float64)


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_numbers_in_the_tools_form_are_what_float_makes_of_them(values: list[float]) -> None:
    line = "".join(f"{value:f} " for value in values)
    parsed = parse_lines([line.encode()], len(values))
    assert parsed is not None
    assert parsed.tobytes() == read_with_float(line).tobytes()


@given(st.text(alphabet="0123456789.-+ ne_x,\t\u00b2", max_size=24))
def test_any_other_line_is_read_as_float_does_or_not_at_all(line: str) -> None:
    parsed = parse_lines([line.encode()], line.count(" "))
    if parsed is not None:
        np.testing.assert_array_equal(parsed, read_with_float(line))


@pytest.mark.parametrize("line", [b"", b" ", b"1.0", b"1.0  ", b"1.0 2.0 ", b" 1.0", b"1_0 ", b"1.0,2.0 "])
def test_lines_of_another_form_are_not_parsed(line: bytes) -> None:
    assert parse_lines([line], 1) is None


def test_every_line_must_have_the_number_of_values() -> None:
    assert parse_lines([b"1.0 2.0 3.0 ", b"4.0 "], 2) is None
