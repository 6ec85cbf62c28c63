"""What the documentation shows: commands that parse, records that are right, links that lead somewhere."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from assay import __version__
from assay.command_line.command_parser import app
from assay.models.read_record import read_model_record
from brightness_classifier import FLOAT, make_brightness_classifier, make_port

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


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


@pytest.mark.parametrize(
    "command", re.findall(r"`assay ([^`|]*)` \|$", (ROOT / "README.zh-CN.md").read_text(), re.MULTILINE)
)
def test_every_command_beside_an_original_one_is_one(command: str) -> None:
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
    (code,) = [block for block in list_blocks("python") if "assay" in block]
    photographs.rename(tmp_path / "val")
    shutil.copy(colour_onnx, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / "runs" / "mine" / "report.md").exists()


def test_the_snippet_that_puts_a_cast_in_front_makes_a_file_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = [block for block in list_blocks("python") if "float_input.onnx" in block]
    monkeypatch.chdir(tmp_path)
    make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[helper.make_node("Cast", ["image"], ["pixels"], to=FLOAT)],
        image=make_port("image", TensorProto.INT8, ["batch", 3, 224, 224]),
    )
    exec(code, {})
    session = onnxruntime.InferenceSession(tmp_path / "float_input.onnx")
    images = np.random.default_rng(1).integers(-128, 128, (2, 3, 224, 224)).astype(np.float32)
    colour = images.mean(axis=(2, 3)).sum(axis=1)  # (2,)
    (logits,) = session.run(["class"], {"fed": images})
    np.testing.assert_allclose(logits, np.stack([-3 * colour, 3 * colour], axis=1), rtol=1e-4)


PACKAGE = ROOT / "src" / "assay"


def list_drawn_paths(page: Path) -> set[str]:
    """The paths in the drawing of the package, below its root: `a/`, `a/b/`, `a/b.py`."""
    drawing = page.read_text().partition("```text\nsrc/assay/\n")[2].partition("```")[0]
    drawn, outer = set(), ""
    for line in drawing.splitlines():
        found = re.match(r"(│   )?[├└]── ((?:[\w.]+/?(?: |$))+)", line)
        if found is None:
            continue
        names = found[2].split()
        if not found[1]:
            outer = names[0] if names[0].endswith("/") else ""
        drawn |= {outer + name if found[1] else name for name in names}
    return drawn


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/architecture.md"])
def test_the_pages_draw_every_folder_and_every_module_at_the_root_of_the_package(page: str) -> None:
    drawn = list_drawn_paths(ROOT / page)
    folders = {f"{file.parent.name}/" for file in PACKAGE.glob("*/__init__.py")}
    leaves = {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert folders | leaves <= drawn


def test_the_architecture_draws_every_inner_folder_and_nothing_that_is_not_there() -> None:
    drawn = list_drawn_paths(ROOT / "docs/explanation/architecture.md")
    inner = {f"{file.parent.relative_to(PACKAGE).as_posix()}/" for file in PACKAGE.glob("*/*/__init__.py")}
    assert inner <= drawn
    assert {path for path in drawn if not (PACKAGE / path).exists()} == set()


def test_the_architecture_has_the_import_order_of_the_import_rules() -> None:
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter", encoding="utf-8")
    layers = rules["importlinter:contract:stages"]["layers"].replace("assay.", "").strip().split("\n")
    order = " → ".join([layers[-1].strip(), "leaves", *(layer.strip() for layer in layers[-3:0:-1])])
    assert f"\n{order}\n" in (ROOT / "docs/explanation/architecture.md").read_text()


def test_the_changelog_opens_with_what_is_unreleased_or_with_this_version() -> None:
    first = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert re.fullmatch(rf"\[Unreleased\]|\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", first)


def test_file_names_of_the_documentation_are_lower_case_words_with_hyphens() -> None:
    names = [file.name for file in (ROOT / "docs").rglob("*") if file.is_file() and file.name != "README.md"]
    assert [
        name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.(md|png|zip|html|ipynb)", name)
    ] == []


INPUTS = (ROOT / "docs/reference/inputs.md").read_text()
CASES = re.findall(r"^\| (\d+) \| .* \| (`.*`) \|$", INPUTS, re.MULTILINE)


def test_the_table_of_hard_cases_has_all_83() -> None:
    assert [int(number) for number, _ in CASES] == list(range(1, 84))


@pytest.mark.parametrize(("number", "files"), CASES)
def test_a_hard_case_of_the_table_has_its_tests(number: str, files: str) -> None:
    for file in files.split(", "):
        assert f"def test_case_{int(number):02d}_" in (ROOT / "tests" / file.strip("`")).read_text()
