"""The page of all commands, and the version, from tables alone: without the parser, which takes longest."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from assay import __version__
from assay.command_line.commands import COMMAND_GROUPS, COMMANDS, DESCRIPTION, EPILOGUE

LONGEST_NAME = 28  # columns
NARROWEST = 40  # columns
HELP_WORDS = ("--help", "-h")
GENERAL_OPTIONS = {
    "--help -h": "Show this page; after a command, its options.",
    "--version": "Show the version.",
}


def make_front_page(tokens: Sequence[str]) -> str | None:
    """The page of all commands or the version, where a command line asks for one of them; else None."""
    words = [*tokens[1:]] if tokens[:1] == ["help"] else [*tokens]
    if words[:1] == ["--version"]:
        return f"{__version__}\n"
    asks_for_help = not words or any(word in HELP_WORDS for word in words)
    if not asks_for_help or not all(word.startswith("-") for word in words):
        return None
    width = shutil.get_terminal_size().columns
    return "".join(f"{line}\n" for line in _lay_out_page(width, is_bold=_shows_bold()))


def wrap_rows(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Lines of names with their texts beside them, wrapped; a name too long for its column has its own line.

    Args:
        rows: Each name with its text.
        width: Columns of the terminal.
    """
    pairs = list(rows)
    column = min(max((len(name) for name, _ in pairs), default=0), LONGEST_NAME)
    indent = " " * (column + 4)
    for name, text in pairs:
        start = f"  {name}".ljust(len(indent))
        if len(start) > len(indent):
            yield start
            start = indent
        yield from wrap_text(text, width, start, indent) or [start.rstrip()]


def wrap_text(text: str, width: int, start: str = "", indent: str = "") -> list[str]:
    """Lines of one paragraph, cut at spaces, which a no-break space becomes only then."""
    lines = textwrap.wrap(
        text, max(width, NARROWEST), initial_indent=start, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace("\xa0", " ") for line in lines]


def _lay_out_page(width: int, *, is_bold: bool) -> Iterator[str]:
    yield "Usage: assay COMMAND"
    yield ""
    yield from wrap_text(DESCRIPTION, width)
    described = {name: text for functions in COMMANDS.values() for name, text in functions.items()}
    column = max(len(name) for name in (*described, *GENERAL_OPTIONS))
    for title, names in COMMAND_GROUPS.items():
        rows = [(name.ljust(column), described[name]) for name in names]
        yield ""
        yield f"\x1b[1m{title}\x1b[0m" if is_bold else title
        yield from wrap_rows(rows, width)
    yield from wrap_rows([(name.ljust(column), text) for name, text in GENERAL_OPTIONS.items()], width)
    yield ""
    for line in EPILOGUE:
        yield from wrap_text(line, width, indent="  ")


def _shows_bold() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
