"""What CONTRIBUTING.md promises: from that page alone, an engine is added and passes the contract suite."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPE = PAGE.partition("## Add an engine\n")[2].partition("\n## ")[0]


def insert_after(file: Path, line: str, text: str) -> None:
    before, found, after = file.read_text(encoding="utf-8").partition(line)
    assert found, f"{file.name} has no line {line!r}"
    file.write_text(before + found + text + after, encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the source with the engine of CONTRIBUTING.md in it: the file, its entry, its import rule."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    engines = tmp_path / "src" / "assay" / "engines"
    code, entry = re.findall(r"^```py\n(.*?)^```", RECIPE, re.MULTILINE | re.DOTALL)
    (rule,) = re.findall(r"^```ini\n(.*?)^```", RECIPE, re.MULTILINE | re.DOTALL)
    (engines / "random_engine.py").write_text(code, encoding="utf-8")
    insert_after(engines / "catalog.py", "\nENGINES = {\n", entry)
    insert_after(tmp_path / ".importlinter", "\n    assay.engines.constant_engine\n", rule)
    return tmp_path


def run_in(checkout: Path, *command: str) -> str:
    """Output of a command that finds the source in `checkout`, after it has succeeded; not measured."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env={**env, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_engine_shown_passes_the_contract_suite(checkout: Path) -> None:
    suite = str(ROOT / "tests" / "engines" / "engine_contract.py")
    told = run_in(checkout, "pytest", suite, "-k", "random", "-c", str(ROOT / "pyproject.toml"), "-q")
    passed, skipped = (int(re.findall(rf"(\d+) {word}", told)[0]) for word in ("passed", "skipped"))
    assert passed >= 30
    assert skipped == 3, told  # it computes nothing of the network, takes images only, has no numbers


def test_the_engine_shown_keeps_the_import_rules_and_the_style(checkout: Path) -> None:
    run_in(checkout, "importlinter.cli", "lint-imports", "--no-logo", "--no-cache")
    engine = checkout / "src" / "assay" / "engines" / "random_engine.py"
    for check in ("check", "format --check"):
        run_in(checkout, "ruff", *check.split(), "--config", str(ROOT / "pyproject.toml"), str(engine))
