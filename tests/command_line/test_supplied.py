"""What `assay.toml` and the environment supply to a command: said, recorded, and not everything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.command_line.app import main
from conftest import RunAssay


def test_what_was_not_given_on_the_command_line_is_said_and_stands_in_the_manifest(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "assay.toml").write_text('[compile]\nengine = "constant"\n[evaluate]\nlimit = 3\n')
    done = run_assay("compile", colour_onnx, "a", "--model", "se_resnext50_32x4d", cwd=tmp_path)
    assert f"assay: --engine constant (from {tmp_path / 'assay.toml'})" in done.stderr.splitlines()
    given = ["evaluate", "a", "--images", photographs, "--limit", "2"]
    env = {"ASSAY_EVALUATE_SHARD_SIZE": "2"}
    done = run_assay(*given, "-o", "loud", cwd=tmp_path, env=env)
    assert done.stderr.splitlines()[0] == "assay: --shard-size 2 (from ASSAY_EVALUATE_SHARD_SIZE)"
    assert "--limit" not in done.stderr.splitlines()[0]  # as given, so not from the file
    assert run_assay(*given, "-o", "quiet", "-q", cwd=tmp_path, env=env).stderr == ""
    for run in ("loud", "quiet"):
        manifest = json.loads((tmp_path / run / "manifest.json").read_text())
        assert manifest["supplied"] == ["--shard-size 2 (from ASSAY_EVALUATE_SHARD_SIZE)"]


def test_a_command_without_any_flag_is_no_bug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bundle", str(tmp_path / "nothing")]) in {2, 5}
    assert "a bug in assay" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("overwrite", "true"),
        ("resume", "true"),
        ("output", '"elsewhere"'),
        ("trust_labels", "true"),
        ("follow_links", "true"),
        ("max_pixels", "1"),
        ("max_image_mib", "1"),
        ("cannot_tell", '"pass"'),
        ("stop_error", "0.4"),
        ("ray", '"198.51.100.7:6379"'),
    ],
)
def test_what_destroys_or_weakens_is_taken_from_the_command_line_alone(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    flag: str,
    value: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"--{flag.replace('_', '-')}"
    (tmp_path / "assay.toml").write_text(f"[evaluate]\n{flag.replace('_', '-')} = {value}\n")
    assert main(["evaluate", "compiled", "--images", "val"]) == 2
    source = tmp_path / "assay.toml"
    assert f"{source}: {name} is taken from the command line alone" in capsys.readouterr().err
    source.unlink()
    monkeypatch.setenv(f"ASSAY_EVALUATE_{flag.upper()}", value.strip('"'))
    assert main(["evaluate", "compiled", "--images", "val"]) == 2
    assert f"ASSAY_EVALUATE_{flag.upper()}: {name} is taken from" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: os.mkfifo(path), "is not a file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not TOML"),
        (lambda path: path.write_text("[compile"), "is not TOML"),
        (lambda path: path.write_bytes(b"a = " + b"[" * 5000), "is not TOML"),
        (lambda path: path.write_bytes(b"#" * 2**21), "expected at most 1,048,576"),
        (lambda path: path.write_text("compile = 1"), "must be a mapping"),
    ],
)
def test_an_assay_toml_that_is_none_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    make: Callable[[Path], object],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "assay.toml")
    assert main(["compile", "model.onnx", "compiled"]) == 2
    errors = capsys.readouterr().err
    assert complaint in errors
    assert "assay.toml" in errors
    assert "Traceback" not in errors
