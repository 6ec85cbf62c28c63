"""`assay help` and `assay completion`: what there is to read, and what a shell completes."""

from __future__ import annotations

import difflib
from importlib import resources
from typing import Literal

from assay.command_line.flags import ShowFlags
from assay.command_line.outcome import Outcome
from assay.errors import UsageError, quote

TOPICS = {
    "own-classes": "a model of your own classes, a folder for each",
    "own-classifier": "a classifier of your own: its record, in three commands",
    "model-record": "every key of a model record",
    "images": "what --images and --labels take",
    "int8": "a faster model, and how much it loses",
    "gates": "what a run must show, else its exit status is 1",
    "figures": "how to read accuracy, verdict, speed and their marks",
    "resume": "runs that end early, and runs of several processes",
    "options": "where options come from: command line, variables, assay.toml",
    "exit-status": "what each exit status means",
}


def help(word: str = "topics", /, flags: ShowFlags = ShowFlags()) -> Outcome:  # noqa: ARG001 - main reads --json
    """Show the options of a command, or a text on a topic.

    Args:
        word: A command, or a topic; `topics` lists them.
    """
    if word == "topics":
        lines = [f"  {name:15} {what}" for name, what in TOPICS.items()]
        return Outcome(lines=["assay help TOPIC:", *lines], document={"topics": TOPICS})
    if word not in TOPICS:
        raise _refuse(word)
    text = resources.files("assay.command_line").joinpath("topics", f"{word}.txt").read_text("utf-8")
    return Outcome(lines=text.rstrip().splitlines(), document={"topic": word, "text": text})


def _refuse(word: str) -> UsageError:
    from assay.command_line.command_parser import app

    known = [*(name for name in app if not name.startswith("-")), *TOPICS]
    close = difflib.get_close_matches(word, known, n=1)
    return UsageError(
        f"there is no command and no topic {quote(word)}"
        + (f"; did you mean assay help {close[0]}?" if close else ""),
        hint="assay --help lists the commands, assay help topics the topics",
    )


def completion(shell: Literal["bash", "zsh", "fish"], /, flags: ShowFlags = ShowFlags()) -> Outcome:  # noqa: ARG001 - main reads --json
    """Print what makes a shell complete commands and options.

    Args:
        shell: Which shell. In ~/.bashrc: `source <(assay completion bash)`; for zsh into a folder of its
            fpath, as _assay; in config.fish: `assay completion fish | source`.
    """
    from assay.command_line.command_parser import app

    script = app.generate_completion(prog_name="assay", shell=shell)
    return Outcome(lines=[script], document={"shell": shell, "script": script})
