"""The errors that a user can cause or meet, each with its exit status.

```text
AssayError                      a message for the user; never a traceback
├── GateFailedError        1    accuracy, parity or speed is below what was asked
├── UsageError             2    options that cannot go together, a run folder in the way
├── MissingRuntimeError    4    a runtime, a device or an optional package is not there
├── EngineError            4    a runtime refused to compile, load or run; its own error is the cause
├── SourceError            4    the place that holds the images failed: disk, network, object store, archive
└── BadInputError          5    what the user gave cannot be used
    ├── BadCheckpointError 5    weights
    ├── BadModelError      5    model record, ONNX file, compiled model
    │   └── FixedBatchError        a network that runs batches of one size only
    └── BadImagesError     5    images or labels as a whole
        └── UndecodableImageError   one image: becomes its row's status, never ends a run
```

Exit status 3 (finished, but some images failed), 6 (a gate cannot be told by what was measured), 70 (a bug)
and 130 (interrupted) are no errors of this tree: the command line derives them from the result, from any
other exception and from Ctrl-C.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_QUOTE = 240  # characters
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CREDENTIALS = (
    re.compile(
        r"(?<=[a-z0-9]{2}:/)(/?)[^/\s@'\"]*@", re.IGNORECASE
    ),  # a Path has one slash where the URL had two
    re.compile(
        r"(?<=[?&])((?:access_key|secret_key|session_token|token|x-amz-[a-z-]+|sig|signature|x-goog-[a-z-]+)=)"
        r"[^&\s'\"]+",
        re.IGNORECASE,
    ),
)
_PLACE_IN_SOURCE = re.compile(r"^(Exception from \S+:\d+:?|Check '.*' failed at \S+:\d+:?)\s*")
# Folders that assay makes for a while: beside the result, or in the system's folder for such.
_TEMPORARY_PATH = re.compile(
    r"[^\s'\"]*/(\.[^/\s'\"]+\.part|assay[-_](draft|parity|atc|om|ais_bench)[^/\s'\"]*)/"
)


class AssayError(Exception):
    """An error with a message made for the user: what failed, where, expected, found.

    Args:
        message: What failed, on what, and what was expected against what was found.
        hint: How to put it right, in one sentence or command; may be empty.
    """

    exit_status = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = hide_credentials(message), hide_credentials(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class GateFailedError(AssayError):
    """A gate failed: accuracy, parity or speed is below what was asked for."""

    exit_status = 1


class UsageError(AssayError):
    """The command cannot be carried out as it was put."""

    exit_status = 2


class MissingRuntimeError(AssayError):
    """A runtime, a device or an optional package is not there; the hint says how to get it."""

    exit_status = 4


class EngineError(AssayError):
    """A runtime refused to compile, load or run; its own error is the cause."""

    exit_status = 4


class SourceError(AssayError):
    """The place that holds the images failed, or they changed there: nothing is known of the image itself.

    It never becomes an image's status: what needed the image is not written, and can be computed later.
    """

    exit_status = 4


class BadInputError(AssayError):
    """What the user gave cannot be used."""

    exit_status = 5


class BadCheckpointError(BadInputError):
    """The weights cannot be used."""


class BadModelError(BadInputError):
    """The model record, the ONNX file or the compiled model cannot be used."""


class FixedBatchError(BadModelError):
    """A network runs batches of one size only, and was to run others.

    Args:
        path: Its file.
        batch_size: The one size.
    """

    def __init__(self, path: object, batch_size: int) -> None:
        super().__init__(
            f"{path}: the network runs batches of {batch_size} only",
            hint=f"give --batch-size {batch_size}, or export it again with a dynamic batch",
        )
        self.batch_size = batch_size


class BadImagesError(BadInputError):
    """The images or the labels, taken as a whole, cannot be used."""


class UndecodableImageError(BadImagesError):
    """One image cannot be decoded; the message is the reason that its row carries."""


def hide_credentials(text: str) -> str:
    """Return a text without the credentials of the URLs in it.

    >>> hide_credentials("s3://me:secret@bucket/val?region=x&secret_key=abc&a=b")
    's3://…@bucket/val?region=x&secret_key=…&a=b'
    """
    if ":/" not in text:
        return text
    for pattern in _CREDENTIALS:
        text = pattern.sub(r"\1…@" if pattern is _CREDENTIALS[0] else r"\1…", text)
    return text


def missing_package(package: str, extra: str) -> MissingRuntimeError:
    """Return the error for an optional package that is not installed.

    Args:
        package: The name of the package that could not be imported.
        extra: The extra of assay that brings it.
    """
    return MissingRuntimeError(
        f"the optional package {package} is not installed",
        hint=f"pip install 'assay[{extra}]'",
    )


@contextmanager
def blame_file(kind: type[AssayError], what: str, *, hint: str = "") -> Iterator[None]:
    """Turn whatever a library raises on a file that came from outside into the error that blames the file.

    For calls of libraries alone, which raise on damaged files what they do not document: anything at all.

    Args:
        kind: The error that is raised instead.
        what: How its message begins: the file, and what could not be done.
        hint: How to put it right.

    Raises:
        MemoryError: As it is: the file may be good.
    """
    try:
        yield
    except (AssayError, MemoryError):
        raise
    except Exception as error:
        raise kind(f"{what}: {shorten(error) or type(error).__name__}", hint=hint) from error


def shorten(text: object, length: int = 200) -> str:
    r"""Return a text that came from outside on one line of at most `length` characters, safe for a terminal.

    Line ends and blanks become one blank, control characters are escaped, and what is too long loses its
    middle.

    >>> shorten("not\nfound"), shorten("0123456789" * 1000, 20)
    ('not found', '012345678 … 23456789')
    """
    line = " ".join(str(text).split())
    if len(line) > length:
        kept = length - 3
        line = f"{line[: kept - kept // 2]} … {line[len(line) - kept // 2 :]}"
    return escape_controls(line)


def escape_controls(text: str) -> str:
    r"""Return a text with control characters escaped, so that a terminal shows it and obeys none of it.

    Line ends stay.

    >>> print(escape_controls("cat\x1b[2J.jpg"))
    cat\x1b[2J.jpg
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in text
    )


def quote(text: object, length: int = 60) -> str:
    """Return a text that came from outside in quotes, shortened, so that a message can hold it.

    >>> quote("three words"), quote("9" * 9000, 20)
    ("'three words'", "'999999999 … 99999999'")
    """
    return f"'{shorten(text, length)}'"


def quote_reason(said: object) -> str:
    r"""The line with the reason of what a runtime said, cut to be short, for a message.

    That is the first line, or the last one behind the runtime's own places in its source, which lead from the
    outside to the inside. Left out are those, terminal codes and paths of temporary folders.

    >>> quote_reason("Exception from a.cpp:93:\nCheck 'a == b' failed at b.cpp:7:\nLoading\n\x1b[31mno room")
    'no room'
    >>> quote_reason("no room\n\n==> Context: node 7")
    'no room'
    """
    lines = [_TERMINAL_CODES.sub("", line).strip() for line in str(said).splitlines()]
    reasons = [reason for line in lines if (reason := _PLACE_IN_SOURCE.sub("", line).strip())]
    has_places = any(_PLACE_IN_SOURCE.match(line) for line in lines)
    chosen = (reasons[-1] if has_places else reasons[0]) if reasons else "no reason given"
    return shorten(_TEMPORARY_PATH.sub("", chosen), LONGEST_QUOTE)
