"""What help shows and in which order, and what a mistyped command line is answered."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from assay.command_line.app import main
from assay.command_line.command_parser import app
from assay.command_line.commands import COMMAND_GROUPS, COMMANDS, EXAMPLES
from assay.command_line.help import TOPICS
from assay.engines.catalog import find_engine
from assay.errors import AssayError
from assay.measure.gates import parse_gate
from assay.models.read_record import read_model_record

Show = Callable[..., tuple[int, str, str]]
NAMES = [name for commands in COMMANDS.values() for name in commands]


@pytest.fixture
def show(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        shown = capfd.readouterr()
        return status, shown.out, shown.err

    return run


def test_every_command_has_an_example_that_can_be_parsed_and_a_group() -> None:
    assert set(NAMES) == set(EXAMPLES)
    assert sorted(NAMES) == sorted(name for names in COMMAND_GROUPS.values() for name in names)
    for example in EXAMPLES.values():
        app.parse_args(shlex.split(example.partition(" >")[0])[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("line", ["", "-h", "help", "help --help", "--help --json", "-q --help"])
def test_what_asks_for_help_of_no_command_gets_the_page_of_all(line: str, show: Show) -> None:
    assert show(*line.split()) == show("--help")


def test_the_page_of_all_commands_has_a_line_for_each_at_80_columns(show: Show) -> None:
    _, shown, _ = show("--help")
    lines = shown.splitlines()
    assert [name for name in app if not name.startswith("-") and f"\n  {name} " not in shown] == []
    assert [line for line in lines if line.startswith("     ")] == []
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", ["", "run", "completion"])
def test_help_is_wrapped_to_the_width_without_spaces_at_the_end_or_two_blank_lines(
    command: str, columns: int, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", f"{columns}")
    monkeypatch.setattr(app, "console", Console())  # the one before keeps its width
    status, shown, _ = show(*command.split(), "--help")
    assert status == 0
    assert max(map(len, shown.splitlines())) <= columns
    assert not re.search(r" $|\n\n\n", shown, re.MULTILINE)


def test_options_are_grouped_in_the_order_of_use_with_the_required_ones_first(show: Show) -> None:
    _, shown, _ = show("run", "--help")
    titles = ["What: the model and the images", "Where it runs", "How", "Results", "Limits"]
    places = [shown.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    names = [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]
    assert names[:2] == ["--weights", "--images"]
    assert names.index("--engine") < names.index("--repeats") < names.index("--output")


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_above_the_options_and_shows_no_empty_default(name: str, show: Show) -> None:
    status, shown, _ = show("help", name)
    assert status == 0
    example = shown.partition("\nExample: ")[2].partition("\n\n")[0]
    assert " ".join(example.split()) == EXAMPLES[name]
    assert not {"[default: ()]", '[default: ""]', "[default: False]"} & set(shown.splitlines())
    assert "default: ()" not in shown
    assert 'default: ""' not in shown


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("run", "assay run needs --images PATH and --weights PATH"),
        ("run --images val", "assay run needs --weights PATH"),
        ("compile a", "assay compile needs FOLDER"),
        ("run --weight a --images b", "'--weight'; did you mean --weights?"),
        ("run --dataset b", "'--dataset'; did you mean --images?"),
        ("evaluate c --repeats 3", "'--repeats'; it belongs to assay run, benchmark"),
        ("evalaute", "'evalaute'; did you mean assay evaluate?"),
        ("eval", "'eval'; did you mean assay evaluate?"),
        ("Run", "'Run'; did you mean assay run?"),
        ("run a.onnx --weights b --images c", "'a.onnx' belongs to no option"),
        ("run --preset fast --weights b --images c", '"mixed", "performance"'),
    ],
)
def test_a_mistyped_line_is_answered_with_what_was_meant(line: str, answer: str, show: Show) -> None:
    status, _, error = show(*line.split())
    assert status == 2
    assert answer in error


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_fits_80_columns_and_ends_well(topic: str, show: Show) -> None:
    status, shown, _ = show("help", topic)
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80
    assert topic in show("help", "topics")[1]


def test_a_topic_that_is_not_there_is_answered_with_the_nearest(show: Show) -> None:
    status, _, error = show("help", "own-clases")
    assert status == 2
    assert "did you mean assay help own-classes?" in error


def test_topics_that_errors_name_are_there() -> None:
    sources = (Path(__file__).parents[2] / "src" / "assay").rglob("*.py")
    named = {name for file in sources for name in re.findall(r"assay help ([a-z-]{4,})", file.read_text())}
    assert named - {*TOPICS, *NAMES, "topics"} == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_commands_and_options(shell: str, show: Show) -> None:
    status, script, _ = show("completion", shell)
    assert status == 0
    assert {"evaluate", "precision"} <= set(re.findall(r"[a-z]+", script))


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("run --engine ", {"openvino", "onnxruntime", "torch"}, {"CPU"}),
        ("run --engine constant --device ", {"none"}, {"CPU"}),
        ("predict model.onnx --precision ", {"fp32", "int8"}, {"openvino"}),
        ("run --model torchvision/resnet1", {"torchvision/resnet18:IMAGENET1K_V1"}, {"mine.toml"}),
        ("run --model mi", {"mine.toml"}, {"mine.txt"}),
    ],
)
def test_a_shell_is_offered_the_values_of_an_option(
    line: str,
    offered: set[str],
    not_offered: set[str],
    show: Show,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.toml", "mine.txt"):
        (tmp_path / name).touch()
    status, shown, _ = show("__complete", *line.split(" "))
    assert status == 0
    found = set(shown.splitlines())
    assert offered <= found
    assert not not_offered & found


@pytest.mark.parametrize(
    ("find", "name", "meant"),
    [
        (find_engine, "trt", "did you mean onnxruntime?"),
        (find_engine, "OpenVino", "did you mean openvino?"),
        (read_model_record, "resnet50", "did you mean torchvision/resnet50 or timm/resnet50."),
        (read_model_record, "se_resnext50", "did you mean se_resnext50_32x4d?"),
        (parse_gate, "top1>80", "did you mean top1>=78.5?"),
        (parse_gate, "speedup:1.2", "did you mean speedup>=1.2?"),
    ],
)
def test_engines_models_and_gates_are_suggested_by_what_was_meant(
    find: Callable[[str], object], name: str, meant: str
) -> None:
    with pytest.raises(AssayError) as caught:
        find(name)
    assert meant in caught.value.hint


def test_missing_options_come_with_an_example(show: Show) -> None:
    assert f"for example: {EXAMPLES['run']}" in show("run")[2]
