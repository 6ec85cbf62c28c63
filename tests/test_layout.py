"""How the package is laid out: sizes, names, and what importing it imports."""

from __future__ import annotations

import ast
import collections
import functools
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import assay

PACKAGE = Path(assay.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "onnx", "onnxruntime", "openvino", "nncf", "pyarrow", "ray", "numpy"}


FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
Node = TypeVar("Node", bound=ast.AST)


def walk(kinds: tuple[type[Node], ...]) -> Iterator[Node]:
    """All definitions of these kinds in the package, inner ones too."""
    for module in MODULES:
        for node in ast.walk(parse(module)):
            if isinstance(node, kinds):
                yield node


@functools.cache
def parse(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def name_module(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("module", MODULES, ids=name_module)
def test_a_module_opens_with_a_sentence_and_has_400_lines_at_most(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    docstring = ast.get_docstring(parse(module))
    assert docstring is not None
    assert docstring.strip().splitlines()[0].endswith((".", "?"))
    assert len(source.splitlines()) <= 400


def test_functions_have_13_lines_on_average() -> None:
    lengths = [node.end_lineno - node.lineno + 1 for node in walk(FUNCTION) if node.end_lineno]
    assert len(lengths) > 1000
    assert statistics.mean(lengths) <= 13


def test_no_two_classes_have_the_same_name() -> None:
    names = collections.Counter(node.name for node in walk((ast.ClassDef,)))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_folder_or_module_is_a_drawer_for_odds_and_ends() -> None:
    names = {part for module in MODULES for part in module.relative_to(PACKAGE).with_suffix("").parts}
    assert not names & {"utils", "util", "common", "helpers", "helper", "core", "misc"}


def list_imported(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after the code."""
    code = f"{code}\nimport sys; print('modules:', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.rpartition("modules:")[2].split())


def test_importing_assay_imports_nothing_heavy() -> None:
    imported = list_imported("import assay")
    assert "assay" in imported
    assert not imported & HEAVY


def test_showing_the_help_imports_nothing_heavy() -> None:
    imported = list_imported(
        "import runpy, sys\n"
        "sys.argv = ['assay', '--help']\n"
        "try: runpy.run_module('assay', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code"
    )
    assert "assay.command_line.front_page" in imported  # it did get as far as the command line
    assert not imported & HEAVY


def test_docstrings_say_the_thing_instead_of_return_what() -> None:
    evasive = re.compile(r"Return (what|whether|how|which|where|why)\b")
    found = [
        f"{name_module(module)}: {getattr(node, 'name', 'module')}"
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and evasive.match(ast.get_docstring(node) or "")
    ]
    assert found == []


def test_what_is_imported_for_types_alone_is_used_in_types_alone() -> None:
    used = []
    for file in PACKAGE.rglob("*.py"):
        tree = parse(file)
        guarded = (
            node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        )
        names = {
            alias.name
            for node in guarded
            for line in node.body
            if isinstance(line, ast.ImportFrom)
            for alias in line.names
        }
        types = {id(part) for node in ast.walk(tree) for part in _list_annotation_parts(node)}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            own = {
                alias.name
                for line in ast.walk(function)
                if isinstance(line, ast.ImportFrom)
                for alias in line.names
            }
            used += [
                f"{file.name}: {name.id}"
                for name in ast.walk(function)
                if isinstance(name, ast.Name) and name.id in names - own and id(name) not in types
            ]
    assert used == []


def _list_annotation_parts(node: ast.AST) -> list[ast.AST]:
    annotations = (getattr(node, field, None) for field in ("annotation", "returns"))
    return [part for annotation in annotations if annotation is not None for part in ast.walk(annotation)]
