"""What help shows and in which order, and what a mistyped command line is answered."""

from __future__ import annotations

import shlex

import pytest

from assay.command_line.app import COMMANDS, app, main
from assay.command_line.help_page import COMMAND_GROUPS, EXAMPLES

NAMES = [name for commands in COMMANDS.values() for name in commands]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def test_every_command_has_an_example_that_can_be_parsed_and_a_group() -> None:
    assert set(NAMES) - set(EXAMPLES) == set()
    assert set(NAMES) - {name for names in COMMAND_GROUPS.values() for name in names} == set()
    for example in EXAMPLES.values():
        app.parse_args(shlex.split(example)[1:], exit_on_error=False, print_error=False)


def test_a_command_is_one_line_of_the_list_at_80_columns(show) -> None:
    _, shown, _ = show("--help")
    lines = shown.splitlines()
    assert [line for line in lines if line.startswith("     ")] == []
    assert max(map(len, lines)) <= 80


def test_options_are_grouped_in_the_order_of_use_with_the_required_ones_first(show) -> None:
    _, shown, _ = show("run", "--help")
    titles = ["What: the model and the images", "Where it runs", "How", "Results", "Limits"]
    places = [shown.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    names = [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]
    assert names[:2] == ["--weights", "--images"]
    assert names.index("--engine") < names.index("--repeats") < names.index("--output")


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_an_example_and_shows_no_empty_default(name: str, show) -> None:
    status, shown, _ = show("help", name)
    assert status == 0
    assert " ".join(shown.partition("\nExample: ")[2].split()) == EXAMPLES[name]
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
def test_a_mistyped_line_is_answered_with_what_was_meant(line: str, answer: str, show) -> None:
    status, _, error = show(*line.split())
    assert status == 2
    assert answer in error


def test_missing_options_come_with_an_example(show) -> None:
    assert f"for example: {EXAMPLES['run']}" in show("run")[2]
