"""Text from outside in messages: one line, cut, and nothing that a terminal would obey."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import UsageError, escape_controls, quote, shorten
from conftest import RunAssay

LONG = "x" * 9000


@given(st.text(max_size=400), st.integers(10, 60))
def test_a_shortened_text_is_one_printable_line(text: str, length: int) -> None:
    plain = "".join(character for character in text if character.isprintable())
    shown = shorten(plain, length)
    assert len(shown) <= length
    assert shorten(text).isprintable()
    assert escape_controls(text).replace("\n", "").isprintable()


def test_what_fits_is_left_as_it_is() -> None:
    assert shorten("Kätzchen.JPEG: no such file") == "Kätzchen.JPEG: no such file"
    assert quote("cat\x1b[2J") == r"'cat\x1b[2J'"


@pytest.fixture
def given_files(tmp_path: Path, colour_onnx: Path) -> dict[str, Path]:
    """Files of 9,000 characters where a reader expects something short, and good ones beside them."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"x")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a_0.txt").write_text(",".join(["0.5"] * 3000) + "\n")
    contents = {
        "labels": f"{LONG}\n",
        "labels_columns": f"a.png {LONG} 1\n",
        "labels_word": f"a.png {LONG}\n",
        "labels_header": f"name,{LONG}\na,1\n",
        "csv": f'"{LONG},1\n',
        "good": "a.png 1\n",
        "record": f'name = "{LONG}"\nbad',
        "list": f"{LONG}\n",
        "real": json.dumps([[LONG]]),
        "import": json.dumps({LONG: 1}),
    }
    for name, content in contents.items():
        suffix = {"record": ".toml", "import": ".json", "real": ".json"}.get(name, ".txt")
        (tmp_path / f"{name}{suffix}").write_text(content)
    return {
        "onnx": colour_onnx,
        "out": tmp_path / "out",
        "images": tmp_path / "images",
        "results": tmp_path / "results",
        **{path.stem: path for path in tmp_path.iterdir() if path.is_file()},
    }


@pytest.mark.parametrize(
    "words",
    [
        ["score", "{results}", "{good}", "{out}"],
        ["doctor", "{images}", "--labels", "{labels}"],
        ["doctor", "{images}", "--labels", "{labels_columns}"],
        ["doctor", "{images}", "--labels", "{labels_word}"],
        ["doctor", "{images}", "--labels", "{labels_header}"],
        ["doctor", "{images}", "--labels", "{csv}"],
        ["doctor", "{list}"],
        ["compile", "{onnx}", "{out}", "--model", "{record}"],
        ["benchmark", "--import", "{import}"],
    ],
)
def test_a_message_quotes_at_most_a_line_of_what_was_given(
    run_assay: RunAssay, given_files: dict[str, Path], words: list[str]
) -> None:
    done = run_assay(*(word.format(**given_files) for word in words))
    assert done.returncode in (2, 5), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("results:")]
    assert max(map(len, lines)) < 600
    assert LONG[:300] not in done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot list s3://me:secret@bucket/val", "cannot list s3://…@bucket/val"),
        ("s3:/me:secret@bucket/val", "s3:/…@bucket/val"),
        ("https://host/x?X-Amz-Signature=abc&a=b", "https://host/x?X-Amz-Signature=…&a=b"),
        ("s3://bucket/a@b.jpg", "s3://bucket/a@b.jpg"),
    ],
)
def test_no_error_shows_credentials(text: str, shown: str) -> None:
    assert str(UsageError(text)) == shown
