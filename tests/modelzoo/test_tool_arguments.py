"""The inference tool's command line, in the spellings of all its generations."""

from __future__ import annotations

import pytest

from assay.modelzoo.tool_arguments import translate_arguments


@pytest.mark.parametrize(
    "spelling",
    ["--model", "-m", "--om", "-om", "\u2013model", "\u2014model", "--om_model", "\u2013\u2013model"],
)
def test_the_model_may_be_named_as_in_every_generation(spelling: str) -> None:
    assert translate_arguments([spelling, "x.om"]) == ["x.om"]


def test_quirk_16_the_published_command_works_as_it_was_pasted() -> None:
    rest = ["a.om", "--input", "prep_bin/", "--output", "./", "--outfmt", "TXT", "--batchsize", "16"]
    assert translate_arguments(["\u2013model", *rest]) == rest


def test_underscores_in_values_are_left_as_they_are() -> None:
    assert translate_arguments(["--input", "my_bins", "--output_dirname=a_b"]) == [
        "--input",
        "my_bins",
        "--output-dirname",
        "a_b",
    ]
