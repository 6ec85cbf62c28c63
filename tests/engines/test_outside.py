"""Engines that other distributions bring: found by entry point; a broken one is named and breaks nothing."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from assay.engines.catalog import ENGINES, find_engine
from assay.engines.compiled_model import read_compiled_json
from assay.errors import MissingRuntimeError, UsageError
from assay.models.record import ModelRecord
from assay.workflows.evaluate.evaluate import make_predictor
from assay.workflows.list_engines import list_engines
from compiling import compile_with
from conftest import RunAssay

WHOLE = """
from assay.engines.constant_engine import ConstantEngine

class AbacusEngine(ConstantEngine):
    name = "abacus"
    version = "7"
"""


def install(
    folder: Path, code: str = WHOLE, *, name: str = "abacus", version: str = "0.3", of: str = "assay-abacus"
) -> None:
    """Write a distribution as it lies in an environment: a module, and metadata with an entry point."""
    module = of.replace("-", "_")
    metadata = folder / f"{module}-{version}.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {of}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[assay.engines]\n{name} = {module}:AbacusEngine\n")
    if code:
        (folder / f"{module}.py").write_text(code)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of distributions that this process finds."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    for module in ("assay_abacus", "other_abacus"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return folder


def test_an_engine_from_outside_is_found_listed_and_named_with_its_distribution(
    packages: Path, run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    install(packages)
    found = json.loads(run_assay("engines", "--json").stdout)["engines"]
    assert [engine["name"] for engine in found] == [*ENGINES, "abacus"]
    assert (found[-1]["distribution"], found[-1]["version"]) == ("assay-abacus 0.3", "7")
    assert "abacus: comes with assay-abacus 0.3" in run_assay("engines").stdout
    done = run_assay("compile", colour_onnx, tmp_path / "compiled", "--engine", "abacus")
    assert done.returncode == 0, done.stderr
    assert read_compiled_json(tmp_path / "compiled").engine_version == "7, by assay-abacus 0.3"


def test_its_distributions_version_is_part_of_what_identifies_a_run_and_a_compiled_model(
    packages: Path, colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    recipes, identities = set(), set()
    for version in ("0.3", "0.4"):
        for metadata in packages.glob("*.dist-info"):
            metadata.rename(packages / f"assay_abacus-{version}.dist-info")
        install(packages, version=version)
        folder = tmp_path / version
        folder.mkdir()
        compiled = compile_with(find_engine("abacus"), colour_onnx, folder, se_resnext50)
        recipes.add(compiled.recipe)
        identities.add(repr(make_predictor(folder, compiled, "predictions").identity))
    assert (len(recipes), len(identities)) == (2, 2)
    constant = compile_with(find_engine("constant"), colour_onnx, tmp_path / "0.4", se_resnext50)
    assert constant.engine_version == find_engine("constant").version


BROKEN = [
    ("", "ModuleNotFoundError: No module named 'assay_abacus'"),
    ("import no_such_runtime", "ModuleNotFoundError: No module named 'no_such_runtime'"),
    ("def broken(:", "SyntaxError"),
    ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    ("raise OSError('libabacus.so.1: cannot open shared object file')", "OSError: libabacus.so.1"),
    ("class Other: pass", "AttributeError: module 'assay_abacus' has no attribute 'AbacusEngine'"),
    ("AbacusEngine = 7", "TypeError: 'int' object is not callable"),
    (
        "class AbacusEngine:\n    def __init__(self): raise RuntimeError('no beads')",
        "RuntimeError: no beads",
    ),
    ("class AbacusEngine: pass", "AbacusEngine has no name, no source, no version"),
    (WHOLE + "    load = None", "AbacusEngine has no load"),
    (WHOLE + "    version = property(lambda self: 1 / 0)", "ZeroDivisionError"),
    (WHOLE + "    devices = 'cpu'", "AbacusEngine has no devices"),
    (WHOLE + "    precisions = ()", "it has no precision"),
    (WHOLE + "    source = 'beads'", "its source is beads"),
    (WHOLE.replace('"abacus"', '"counting"'), "it calls itself counting"),
]
"""Engines in every way that one can be broken, and why it cannot be used."""


def test_a_broken_engine_is_named_and_the_others_are_listed(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a module of the same second and size is another
    for code, reason in BROKEN:
        (packages / "assay_abacus.py").unlink(missing_ok=True)
        install(packages, code)
        sys.modules.pop("assay_abacus", None)
        importlib.invalidate_caches()
        with pytest.raises(MissingRuntimeError) as caught:
            find_engine("abacus")
        assert f"engine abacus of assay-abacus 0.3 cannot be used: {reason}" in caught.value.message
        statuses = {status.name: status for status in list_engines()}
        assert list(statuses) == [*ENGINES, "abacus"]
        assert reason in statuses["abacus"].problem
        assert statuses["openvino"].problem == ""


def test_one_that_fails_as_it_looks_for_devices_breaks_no_list(packages: Path, run_assay: RunAssay) -> None:
    install(packages, WHOLE + "    def find_devices(self): raise ValueError('no driver')")
    done = run_assay("engines")
    assert done.returncode == 0, done.stderr
    assert "abacus of assay-abacus 0.3 cannot be used: ValueError: no driver" in done.stdout
    assert "openvino" in done.stdout


def test_the_name_of_one_of_assays_own_is_not_taken(packages: Path) -> None:
    install(packages, name="openvino")
    assert type(find_engine("openvino")).__name__ == "OpenVinoEngine"
    last = list_engines()[-1]
    assert (last.name, last.distribution) == ("openvino", "assay-abacus 0.3")
    assert "one of assay's own has that name" in last.problem


def test_a_name_that_two_distributions_bring_is_refused(packages: Path) -> None:
    install(packages)
    install(packages, of="other-abacus")
    with pytest.raises(MissingRuntimeError, match=r"assay-abacus 0\.3 and other-abacus 0\.3 .*twice"):
        find_engine("abacus")
    assert [status.name for status in list_engines()] == [*ENGINES, "abacus"]


def test_a_mistyped_name_is_answered_with_the_nearest_of_all(packages: Path) -> None:
    install(packages)
    with pytest.raises(UsageError) as caught:
        find_engine("abacos")
    assert caught.value.hint.startswith("did you mean abacus? known: openvino, ")
