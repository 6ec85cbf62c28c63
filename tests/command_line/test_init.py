"""`assay init`: the record of a model file, its open lines marked."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from assay.command_line.app import main
from onnx_forms import write_classifier


def test_a_record_is_written_once_with_its_open_lines_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_classifier(tmp_path / "pets.onnx")
    assert main(["init", "pets.onnx", "--json"]) == 0
    text = (tmp_path / "pets.toml").read_text()
    left = tomllib.loads(text)["open"]
    assert left
    assert all(f"# open: {key.rpartition('.')[2]}" in text for key in left)
    assert main(["init", "pets.onnx"]) == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert (tmp_path / "pets.toml").read_text() == text
