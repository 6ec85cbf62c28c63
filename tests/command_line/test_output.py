"""What the command line prints, where, and what it does not import."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay import __version__
from assay.command_line.commands import COMMANDS
from conftest import RunAssay

PARSERS = {"cyclopts", "rich", "msgspec"}
HEAVY = {"torch", "onnx", "onnxruntime", "openvino", "pyarrow", "numpy", "scipy", "PIL"}


def test_the_page_of_all_commands_imports_no_parser_and_help_of_a_command_nothing_heavy() -> None:
    """In one process: what one command's help imported would be there after the others'."""
    pages = [[], ["--help"], ["-h"], ["help"], ["--version"]]
    commands = [[name, "--help"] for names in COMMANDS.values() for name in names]
    script = (
        "import sys\n"
        "from assay.command_line.app import main\n"
        f"statuses = {{main(page) for page in {pages!r}}}\n"
        f"imported = [sorted({PARSERS | HEAVY!r} & set(sys.modules))]\n"
        f"statuses |= {{main(command) for command in {commands!r}}}\n"
        f"imported += [sorted({HEAVY!r} & set(sys.modules))]\n"
        "print(imported, statuses, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[[], []] {0}"


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says(module: str) -> None:
    functions = importlib.import_module(f"assay.command_line.{module}")
    for name, help_text in COMMANDS[module].items():
        assert (getattr(functions, name).__doc__ or "").splitlines()[0] == help_text


def test_version_is_the_packages(run_assay: RunAssay) -> None:
    assert run_assay("--version").stdout.strip() == __version__


@pytest.mark.parametrize("status", [0, 5])
def test_json_is_one_document_on_stdout_also_on_failure(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path, status: int
) -> None:
    onnx_path = colour_onnx if status == 0 else tmp_path / "missing.onnx"
    done = run_assay("compile", onnx_path, tmp_path / "compiled", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == status
    assert document["schema_version"] == 1
    assert ("error" in document) == (status != 0)


def test_a_usage_error_is_json_too(run_assay: RunAssay) -> None:
    done = run_assay("run", "--no-such-option", "--json")
    assert json.loads(done.stdout)["error"]["exit_status"] == 2


def test_progress_goes_to_stderr_as_lines_where_it_is_no_terminal(
    run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", colour_compiled, "--images", photographs]
    done = run_assay(*arguments, "-o", tmp_path / "run")
    assert "Evaluating: 12 of 12 images" in done.stderr
    assert "Top-1" in done.stderr
    assert "\r" not in done.stderr
    assert "Evaluating" not in done.stdout
    quiet = run_assay(*arguments, "-o", tmp_path / "quiet", "--quiet")
    assert quiet.stderr == ""


def test_lines_fit_in_80_columns(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    run_assay("compile", colour_onnx, tmp_path / "compiled", "--engine", "constant")
    arguments = ["--images", photographs, "--batch-size", "8,64", "-o", "r"]
    done = run_assay("benchmark", tmp_path / "compiled", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "…" not in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(colour_onnx: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "assay", "compile", str(colour_onnx), str(tmp_path / "compiled"), "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, "")


def test_options_come_from_the_environment_and_from_assay_toml(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "assay.toml").write_text('[compile]\nengine = "constant"\n')
    done = run_assay("compile", colour_onnx, "a", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["compiled"]["engine"] == "constant"
    done = run_assay(
        "compile", colour_onnx, "b", "--json", cwd=tmp_path, env={"ASSAY_COMPILE_ENGINE": "openvino"}
    )
    assert json.loads(done.stdout)["compiled"]["engine"] == "openvino"


def test_an_unknown_key_in_assay_toml_is_an_error(run_assay: RunAssay, tmp_path: Path) -> None:
    (tmp_path / "assay.toml").write_text('[compile]\nengin = "constant"\n')
    done = run_assay("compile", "m.onnx", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert "engin" in done.stderr
