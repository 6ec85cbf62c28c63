"""What the documentation shows: commands that parse, records that are right, links that lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from assay.command_line.app import app
from assay.models.record import read_model_record

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def list_blocks(language: str) -> list[str]:
    return [
        block
        for page in PAGES
        for block in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]


COMMANDS = sorted(
    {
        line.split("assay ", 1)[1].split("#")[0].strip()
        for block in list_blocks("bash")
        for line in block.splitlines()
        if re.match(r"(\.venv/bin/)?assay ", line)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_is_one(command: str) -> None:
    app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)


def test_some_commands_are_shown() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_in_the_makefile(target: str) -> None:
    assert f"make {target}" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("text", list_blocks("toml"))
def test_every_record_shown_can_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "shown.toml").write_text(text)
    assert read_model_record(str(tmp_path / "shown.toml")).name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_python_shown_runs(
    photographs: Path, colour_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = list_blocks("python")
    photographs.rename(tmp_path / "val")
    shutil.copy(colour_onnx, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / "runs" / "mine" / "report.md").exists()


def test_the_readme_shows_every_folder_of_the_package() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = {file.parent.name for file in (ROOT / "src" / "assay").glob("*/__init__.py")}
    assert {folder for folder in folders if f"├── {folder}/" not in readme} == set()


def test_the_changelog_names_the_version_or_what_is_unreleased() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


INPUTS = (ROOT / "docs/reference/inputs.md").read_text()
CASES = re.findall(r"^\| (\d+) \| .* \| (`.*`) \|$", INPUTS, re.MULTILINE)


def test_the_table_of_hard_cases_has_all_83() -> None:
    assert [int(number) for number, _ in CASES] == list(range(1, 84))


@pytest.mark.parametrize(("number", "files"), CASES)
def test_a_hard_case_of_the_table_has_its_tests(number: str, files: str) -> None:
    for file in files.split(", "):
        assert f"def test_case_{int(number):02d}_" in (ROOT / "tests" / file.strip("`")).read_text()
