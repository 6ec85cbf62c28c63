"""What parses a command line: the commands, with their options from the functions' signatures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env

from assay import __version__
from assay.command_line.commands import COMMANDS, DESCRIPTION, EXAMPLES
from assay.command_line.guard import show_errors, show_outcome
from assay.command_line.help_page import HelpPage
from assay.command_line.pipelines import run_with_reports
from assay.command_line.streams import write_to_stderr
from assay.command_line.supplied import AssayToml, Supplied
from assay.interrupts import say_resume

if TYPE_CHECKING:
    from assay.command_line.flags import ShowFlags

SUPPLIED = Supplied()
app = App(
    name="assay",
    version=__version__,
    help=DESCRIPTION,
    help_format="plaintext",
    help_formatter=HelpPage(),
    config=(Env("ASSAY_"), AssayToml("assay.toml"), SUPPLIED),
    default_parameter=Parameter(negative=(), show_env_var=False),
)
for _module, _commands in COMMANDS.items():
    for _name, _help in _commands.items():
        app.command(
            f"assay.command_line.{_module}:{_name}",
            name=_name,
            help=_help,
            help_formatter=HelpPage(EXAMPLES[_name]),
        )


def run_command(tokens: Sequence[str]) -> int:
    """Parse a command line, run its command, show what came of it, and return the exit status.

    Raises:
        UsageError: The command line cannot be parsed; it says what was probably meant.
    """
    if tokens[0] == "help" and tokens[1:] and tokens[1] in app:
        tokens = [*tokens[1:], "--help"]
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from assay.command_line.mistyped import explain

        raise explain(error, app, SUPPLIED.arguments) from error
    if not command.__module__.startswith("assay."):  # --help and --version print for themselves
        with suppress(SystemExit):  # rich raises it where the reader has gone, as `head` does
            command(*bound.args, **bound.kwargs)
        return 0
    bound.apply_defaults()
    flags: ShowFlags = bound.arguments["flags"]
    say_resume(is_option=hasattr(flags, "resume"))
    bound.arguments["flags"] = dataclasses.replace(flags, supplied=SUPPLIED.lines)
    if not flags.quiet:
        write_to_stderr("".join(f"assay: {line}\n" for line in SUPPLIED.lines))
    reported = partial(
        run_with_reports, f"assay {tokens[0]}", partial(command, *bound.args, **bound.kwargs), flags
    )
    run = partial(show_outcome, reported, as_json=flags.json)
    return show_errors(run, as_json=flags.json)
