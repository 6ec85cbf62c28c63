"""A model file is compiled into the cache once, and again where anything that makes the result is another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileChoice
from assay.errors import BadModelError, UsageError
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.workflows.models.compile_on_demand import is_source, provide_compiled
from colour_classifier import make_colour_classifier

QUICK = {"inner_batch": "1", "streams": "1"}


def provide(model: Path, cache: Path, record: str = "", **choice: object) -> Path:
    chosen = CompileChoice(**({"settings": QUICK} | choice))  # type: ignore[arg-type]
    return provide_compiled(model, record, chosen, SILENT, cache)


def test_a_compiled_model_is_itself_and_a_model_file_is_compiled_once(
    colour_onnx: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    folder = provide(colour_onnx, cache)
    assert folder.parent == cache
    assert read_compiled_json(folder).model.name == "se_resnext50_32x4d"
    written = (folder / "compiled.json").stat().st_mtime_ns
    shutil.copy(colour_onnx, tmp_path / "renamed.onnx")
    assert provide(tmp_path / "renamed.onnx", cache) == folder
    assert provide(folder, cache) == folder
    assert (folder / "compiled.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("what", ["weights", "settings", "batch", "record", "engine"])
def test_whatever_makes_another_result_makes_another_model(
    colour_onnx: Path, lite0_toml: Path, tmp_path: Path, what: str
) -> None:
    cache = tmp_path / "cache"
    folder = provide(colour_onnx, cache)
    other = make_colour_classifier(tmp_path / "colour.onnx", seed=4)
    changed = {
        "weights": lambda: provide(other, cache),
        "settings": lambda: provide(colour_onnx, cache, settings=QUICK | {"threads": "1"}),
        "batch": lambda: provide(colour_onnx, cache, batch_size=2),
        "record": lambda: provide(colour_onnx, cache, f"{lite0_toml}"),
        "engine": lambda: provide(colour_onnx, cache, engine="constant", settings={}),
    }[what]()
    assert changed != folder
    assert read_compiled_json(changed) != read_compiled_json(folder)


def test_an_engine_that_fixes_the_batch_size_is_refused_with_the_command_that_compiles(
    colour_onnx: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="one batch size") as refusal:
        provide(colour_onnx, tmp_path / "cache", engine="ascend", settings={})
    assert "--engine ascend --batch-size N" in str(refusal.value)
    assert not (tmp_path / "cache").exists()


def test_a_damaged_model_in_the_cache_is_compiled_anew(colour_onnx: Path, tmp_path: Path) -> None:
    folder = provide(colour_onnx, tmp_path / "cache")
    weights = next(path for path in folder.iterdir() if path.suffix == ".bin" or path.suffix == ".onnx")
    os.truncate(weights, 10)
    with pytest.raises(BadModelError, match="has changed"):
        read_compiled_json(folder)
    assert provide(colour_onnx, tmp_path / "cache") == folder
    read_compiled_json(folder)


def test_a_checkpoint_is_exported_once_and_compiled(
    colour_checkpoint: Path, colour_record: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(
        "assay.workflows.models.compile_on_demand.choose_record", lambda _name, _source: colour_record
    )
    assert is_source(colour_checkpoint)
    folder = provide(colour_checkpoint, cache)
    exported = list(cache.glob("*.onnx"))
    assert len(exported) == 1
    written = exported[0].stat().st_mtime_ns
    assert provide(colour_checkpoint, cache) == folder
    assert exported[0].stat().st_mtime_ns == written
