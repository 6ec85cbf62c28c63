"""The command line: the page of all commands, or one command to its end; returns the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from assay.command_line.front_page import make_front_page
from assay.command_line.guard import run_to_end, show_errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The command line without the program's name; that of the process if None.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # pyarrow's own choice keeps 10 to 25 MiB
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    return run_to_end(partial(_run, tokens), is_process=arguments is None)


def _run(tokens: list[str]) -> int:
    page = make_front_page(tokens)
    if page is not None:
        sys.stdout.write(page)
        return 0
    as_json = "--json" in tokens  # for usage errors; when the command is parsed, it says itself
    return show_errors(partial(_run_command, tokens), as_json=as_json)


def _run_command(tokens: list[str]) -> int:
    from assay.command_line.command_parser import run_command  # most of what a short command takes

    return run_command(tokens)
