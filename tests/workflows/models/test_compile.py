"""A compiled model is used again when nothing that made it changed, and never otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileOptions
from assay.engines.openvino.engine import OpenVinoEngine
from assay.errors import BadModelError, UsageError
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.workflows.models.compile import compile_model
from colour_classifier import make_colour_classifier
from compiling import resolve_choice


class Hearing(Listener):
    """Remembers the lines it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        self.lines.append(text)


def compile_again(source: Path, folder: Path, options: CompileOptions, *, overwrite: bool = True) -> bool:
    """Return whether the model that is there was used again."""
    listener = Hearing()
    compile_model(source, folder, options, overwrite=overwrite, listener=listener)
    return any("used again" in line for line in listener.lines)


@pytest.fixture
def options(se_resnext50: ModelRecord) -> CompileOptions:
    return resolve_choice(se_resnext50)


@pytest.fixture
def folder(colour_onnx: Path, options: CompileOptions, tmp_path: Path) -> Path:
    assert not compile_again(colour_onnx, tmp_path / "compiled", options)
    return tmp_path / "compiled"


def test_a_model_compiled_of_the_same_is_used_again_even_without_overwrite(
    colour_onnx: Path, options: CompileOptions, folder: Path
) -> None:
    before = (folder / "model.xml").stat().st_mtime_ns
    assert compile_again(colour_onnx, folder, options, overwrite=False)
    assert (folder / "model.xml").stat().st_mtime_ns == before


def test_a_default_and_its_value_written_out_are_the_same(
    colour_onnx: Path, se_resnext50: ModelRecord, folder: Path
) -> None:
    same = resolve_choice(se_resnext50, precision="fp32", device="cpu")
    assert compile_again(colour_onnx, folder, same)


def test_the_name_of_the_source_does_not_matter_but_its_content_does(
    colour_onnx: Path, options: CompileOptions, folder: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed.onnx"
    renamed.write_bytes(colour_onnx.read_bytes())
    assert compile_again(renamed, folder, options)
    changed = make_colour_classifier(tmp_path / "colour.onnx")
    changed.write_bytes(changed.read_bytes() + b"\x42\x00")  # an empty field that ONNX allows
    assert not compile_again(changed, folder, options)


def test_another_option_record_or_version_is_compiled_anew(
    colour_onnx: Path, options: CompileOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = options.record
    assert not compile_again(colour_onnx, folder, resolve_choice(record, batch_size=2))
    settings = {"threads": "1"}
    assert not compile_again(colour_onnx, folder, resolve_choice(record, settings=settings))
    renamed = msgspec.structs.replace(record, name="another")
    assert not compile_again(colour_onnx, folder, resolve_choice(renamed))
    monkeypatch.setattr(OpenVinoEngine, "version", "2099.1")
    assert not compile_again(colour_onnx, folder, resolve_choice(renamed))


def test_another_machine_compiles_anew(
    colour_onnx: Path, options: CompileOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoEngine, "find_devices", lambda _: {"CPU": "another processor"})
    assert not compile_again(colour_onnx, folder, options)


def test_a_damaged_compiled_model_is_compiled_again(
    colour_onnx: Path, options: CompileOptions, folder: Path
) -> None:
    with (folder / "model.bin").open("ab") as file:
        file.write(b"x")
    assert not compile_again(colour_onnx, folder, options)


def test_another_folder_is_replaced_only_with_overwrite(
    colour_onnx: Path, options: CompileOptions, folder: Path
) -> None:
    other = resolve_choice(options.record, batch_size=2)
    with pytest.raises(UsageError, match="made of something else"):
        compile_again(colour_onnx, folder, other, overwrite=False)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
def test_a_compiled_model_that_names_files_elsewhere_is_refused(name: str, folder: Path) -> None:
    content = json.loads((folder / "compiled.json").read_text())
    content["files"][name] = "0" * 64
    (folder / "compiled.json").write_text(json.dumps(content))
    with pytest.raises(BadModelError, match="is no file of a compiled model"):
        read_compiled_json(folder)
