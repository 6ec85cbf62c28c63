"""What the texts of flags mean, and flags that cannot go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from assay.errors import UsageError, quote

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def parse_batches(option: str, text: str | None) -> tuple[int | Literal["best"], ...]:
    """Batch sizes and the word best between commas; nothing for None.

    >>> parse_batches("--accuracy-batch", "1,best")
    (1, 'best')

    Raises:
        UsageError: Anything else, or one of them twice.
    """
    words = [word.strip() for word in text.split(",")] if text is not None else []
    asked: list[int | Literal["best"]] = [
        "best" if word == "best" else parse_numbers(option, word)[0] for word in words
    ]
    if len(set(asked)) < len(asked):
        raise UsageError(f"{option} {text}: one of them stands there twice")
    return tuple(asked)


def parse_numbers(flag: str, text: str | None) -> tuple[int, ...]:
    """The numbers of a flag's list such as `1,4,8`; none where it was not given.

    >>> parse_numbers("--batch-size", "1,4,8")
    (1, 4, 8)

    Raises:
        UsageError: Not a list of whole numbers from 1.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"{flag} {quote(text)}: expected whole numbers from 1, such as 1,4,8")
    return tuple(int(part) for part in parts)


def parse_settings(given: Sequence[str], **named: str) -> dict[str, str]:
    """The engine's settings by name.

    >>> parse_settings(["threads=2"], soc_version="")
    {'threads': '2'}

    Args:
        given: The texts of --set.
        named: Settings that have a flag of their own; empty where it was not given.

    Raises:
        UsageError: Not NAME=VALUE, or one given twice.
    """
    split = [text.partition("=") for text in given]
    if wrong := [name for name, equals, value in split if not (name and equals and value)]:
        raise UsageError(f"--set {wrong[0]}: expected NAME=VALUE, such as threads=2")
    pairs = [(name, value) for name, _, value in split]
    pairs += [(name, value) for name, value in named.items() if value]
    settings = dict(pairs)
    if len(settings) < len(pairs):
        raise UsageError("--set: one setting is given twice")
    return settings


def parse_mebibytes(flag: str, mebibytes: int) -> int:
    """The bytes of a flag's MiB.

    Raises:
        UsageError: Below 1.
    """
    if mebibytes < 1:
        raise UsageError(f"{flag} is {mebibytes}; expected 1 or more")
    return mebibytes * 2**20


def choose_mode(*, resume: bool, overwrite: bool) -> Literal["new", "resume", "overwrite"]:
    """What happens to results that are there already.

    Raises:
        UsageError: Both flags were given.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if resume:
        return "resume"
    return "overwrite" if overwrite else "new"


def refuse_replacing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file that may have been filled in by hand, such as a model record.

    Raises:
        UsageError: Something is there, and it may not be replaced.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already", hint="replace it with --overwrite, or name another file")


def refuse_unused(flags: DataclassInstance, names: Sequence[str], why: str) -> None:
    """Refuse flags that were given although nothing reads them.

    Args:
        flags: The flags of a command, a dataclass.
        names: The fields that nothing reads.
        why: Why not, such as `without --loadgen`.

    Raises:
        UsageError: One of them is not at its default.
    """
    for field in dataclasses.fields(flags):
        if field.name in names and getattr(flags, field.name) != field.default:
            name = f"--{field.name.replace('_', '-')}"
            raise UsageError(f"{name} has no effect {why}", hint="leave it out, also of assay.toml")
