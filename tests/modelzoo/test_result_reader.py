"""The fast reading of the inference tool's text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.modelzoo.result_reader import parse_fixed_point


@given(st.lists(st.floats(-9e7, 9e7), min_size=1, max_size=20))
def test_numbers_in_the_tools_form_are_what_float_makes_of_them(values: list[float]) -> None:
    line = "".join(f"{value:f} " for value in values)
    expected = np.array([float(text) for text in line.split()], dtype=np.float32)
    parsed = parse_fixed_point(line.encode())
    assert parsed is not None
    np.testing.assert_array_equal(parsed, expected)


@given(st.text(alphabet="0123456789.- ne", max_size=24))
def test_any_other_line_is_left_to_float(line: str) -> None:
    parsed = parse_fixed_point(line.encode())
    if parsed is not None:
        expected = np.array([float(text) for text in line.split()], dtype=np.float32)
        np.testing.assert_array_equal(parsed, expected)


@pytest.mark.parametrize("line", [b"", b" ", b"1.000000", b"1.0 ", b"1e-5 ", b"nan ", b"1234567890.000000 "])
def test_lines_of_another_form_are_not_parsed(line: bytes) -> None:
    assert parse_fixed_point(line) is None
