"""Engines by name."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from assay.defaults import DEFAULT_ENGINE
from assay.engines.catalog import ENGINES, find_engine, load_session
from assay.errors import MissingRuntimeError, UsageError
from assay.models.record import ModelRecord
from compiling import compile_with


def test_every_engine_bears_the_name_it_is_found_by() -> None:
    assert [find_engine(name).name for name in list(ENGINES)] == list(ENGINES)
    assert next(iter(ENGINES)) == DEFAULT_ENGINE


def test_the_import_rules_keep_every_engine_apart_from_the_others() -> None:
    rules = configparser.ConfigParser()
    rules.read(Path(__file__).resolve().parents[2] / ".importlinter", encoding="utf-8")
    apart = rules["importlinter:contract:engines"]["modules"].split()
    modules = {type(find_engine(name)).__module__ for name in ENGINES}
    assert {module for module in modules if not module.startswith(tuple(apart))} == set()


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean openvino"):
        find_engine("openvin")


def test_an_engine_whose_package_is_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("openvino", "assay.engines.openvino"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingRuntimeError, match="engine openvino needs the package openvino"):
        find_engine("openvino")


def test_the_session_is_of_the_engine_that_compiled(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    compile_with(find_engine("constant"), colour_onnx, tmp_path, se_resnext50)
    assert type(load_session(tmp_path)).__name__ == "ConstantSession"
