"""What `./assay.toml` and the variables `ASSAY_COMMAND_FLAG` supply to a command, and what they must not."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import CycloptsError
from cyclopts.config import Toml

from assay.errors import shorten

if TYPE_CHECKING:
    from cyclopts import App, Token
    from cyclopts.argument import Argument, ArgumentCollection

MAX_BYTES = 1 << 20
# What destroys, weakens or turns aside a result, or connects, is given where the command is, or not at all.
COMMAND_LINE_ONLY = {
    "--allow-missing",
    "--cannot-tell",
    "--follow-links",
    "--junit",
    "--margin",
    "--output",
    "--output-dirname",
    "--overwrite",
    "--ray",
    "--resume",
    "--stop-error",
    "--trust-labels",
}
LIMITS = "--max-"


class AssayToml(Toml):
    """`./assay.toml`, with a table for each command; one clear message where it is none."""

    def _load_config(self, path: Path) -> dict[str, Any]:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise _refuse(path, "is not a file")
            if status.st_size > MAX_BYTES:
                raise _refuse(path, f"has {status.st_size:,} bytes, expected at most {MAX_BYTES:,}")
            return tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise _refuse(path, f"cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise _refuse(path, f"is not TOML: {shorten(error)}") from error


def _refuse(path: Path, problem: str) -> CycloptsError:
    return CycloptsError(msg=f"{path} {problem}; put it right, or move it out of the current folder")


class Supplied:
    """The last source of cyclopts: looks at what the sources before it supplied to the command.

    `lines` says for each flag its value and where it is from; `arguments` are all of the command, with what
    was given for each.
    """

    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()
        self.arguments: ArgumentCollection | None = None

    def __call__(self, _app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Note what was supplied, and refuse what is taken from the command line alone."""
        self.arguments = arguments
        found = [
            (argument, token) for argument in arguments for token in argument.tokens if token.source != "cli"
        ]
        for argument, token in found:
            if argument.name in COMMAND_LINE_ONLY or argument.name.startswith(LIMITS):
                source = _name_source(token)
                raise CycloptsError(msg=f"{source}: {argument.name} is taken from the command line alone")
        self.lines = tuple(_describe(found))


def _describe(found: list[tuple[Argument, Token]]) -> Iterator[str]:
    values: dict[tuple[str, str], list[str]] = {}
    for argument, token in found:
        value = token.value or f"{token.implicit_value}"
        values.setdefault((_name_source(token), argument.name), []).append(value)
    for (source, name), given in values.items():
        yield f"{name} {' '.join(given)} (from {source})"


def _name_source(token: Token) -> str:
    """The variable's name, or the file's path."""
    return f"{token.keyword}" if token.source == "env" else token.source
