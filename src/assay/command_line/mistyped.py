"""Says what is wrong with a command line that cannot be parsed, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cyclopts.exceptions import (
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from assay.command_line.commands import EXAMPLES
from assay.errors import UsageError, quote

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError
    from cyclopts.argument import Argument, ArgumentCollection

# What other tools call it; what is only mistyped is found by its letters.
MEANT_COMMANDS = {
    "accuracy": "evaluate",
    "bench": "benchmark",
    "convert": "export",
    "diff": "compare",
    "download": "fetch",
    "eval": "evaluate",
    "list": "models",
    "predict": "evaluate",
    "quant": "quantize",
    "quantise": "quantize",
    "speed": "benchmark",
    "test": "evaluate",
    "val": "evaluate",
    "validate": "evaluate",
    "version": "--version",
}
MEANT_OPTIONS = {
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "--checkpoint": "--weights",
    "--ckpt": "--weights",
    "--data": "--images",
    "--data-dir": "--images",
    "--dataset": "--images",
    "--dtype": "--precision",
    "--gpu": "--device",
    "--num-images": "--limit",
    "--onnx": "--weights",
    "--out": "--output",
    "--output-dir": "--output",
    "--pretrained": "--weights",
    "--provider": "--engine",
    "--record": "--model",
    "--runtime": "--engine",
    "--threads": "--set",
    "--val": "--images",
}


def explain(error: CycloptsError, app: App, arguments: ArgumentCollection | None) -> UsageError:
    """What is wrong with a command line, with a suggestion or an example.

    Args:
        error: Why it could not be parsed.
        app: What parsed it.
        arguments: Those of the command with what was given for each; None where it was not found.
    """
    command = " ".join(error.command_chain or ())
    called = f"assay {command}".strip()
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _explain_command(error.unused_tokens[0], app)
    if isinstance(error, UnknownOptionError) and error.token.source == "cli":
        return _explain_option(error.token.keyword or error.token.value, command, app)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return UsageError(
            f"{called}: {quote(' '.join(error.unused_tokens))} belongs to no option and is one too many",
            hint=_show_example(command),
        )
    if type(error) is MissingArgumentError and not error.tokens_so_far and not error.keyword:
        return _explain_missing(error, command, app, arguments or ())
    return UsageError(str(error), hint=_show_example(command))


def _explain_missing(
    error: MissingArgumentError, command: str, app: App, arguments: Iterable[Argument]
) -> UsageError:
    """What is missing, all of it; where another option is mistyped, that alone."""
    known = {name for argument in arguments for name in argument.names}
    words = (word.partition("=")[0] for word in error.unused_tokens or ())
    if wrong := [word for word in words if word.startswith("--") and word not in known]:
        return _explain_option(wrong[0], command, app)
    missing = [one for one in arguments if one.required and one.parse and not one.tokens and not one.children]
    names = " and ".join(map(_show_argument, missing)) or str(error)
    return UsageError(f"assay {command} needs {names}", hint=_show_example(command))


def _explain_command(word: str, app: App) -> UsageError:
    known = [name for name in app if not name.startswith("-")]
    meant = word.lower() if word.lower() in known else MEANT_COMMANDS.get(word.lower(), "")
    close = [meant] if meant else difflib.get_close_matches(word.lower(), known, n=1)
    question = f"; did you mean assay {close[0]}?" if close else ""
    return UsageError(f"assay has no command {quote(word)}{question}", hint="assay --help lists all commands")


def _explain_option(token: str, command: str, app: App) -> UsageError:
    word = token.partition("=")[0]
    known = _list_options(command, app)
    meant = MEANT_OPTIONS.get(word, "")
    close = [meant] if meant in known else difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    if close:
        means = f"; did you mean {close[0]}?"
    else:
        others = [name for name in app if not name.startswith("-") and word in _list_options(name, app)]
        means = f"; it belongs to assay {', '.join(others)}" if others else ""
    return UsageError(
        f"assay {command} has no option {quote(word)}{means}", hint=f"assay help {command} lists its options"
    )


def _list_options(command: str, app: App) -> list[str]:
    arguments = app[command].assemble_argument_collection()
    return [name for argument in arguments if argument.parse for name in argument.names]


def _show_argument(argument: Argument) -> str:
    kind = getattr(argument.hint, "__name__", "value").upper()
    return f"{argument.name} {kind}" if argument.name.startswith("-") else argument.name


def _show_example(command: str) -> str:
    lines: Sequence[str] = [f"assay help {command} says more" if command else "assay --help says more"]
    if command in EXAMPLES:
        lines = [f"for example: {EXAMPLES[command]}", *lines]
    return "\n  ".join(lines)
