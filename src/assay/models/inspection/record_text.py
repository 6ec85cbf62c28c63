"""A drawn record as TOML: each line with its source; open ones are named, and refused until filled."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from assay.models.inspection.record_lines import RecordLine, list_open, sort_lines
from assay.models.read_record import OPEN_KEY
from assay.models.write_record import write_value

_WIDTH = 100


def write_drawn_record(lines: Mapping[str, RecordLine], model: str) -> str:
    """The record of those lines as TOML with comments.

    Open lines stand in it as comments with what they are likely to be, and by name in the list `open`: the
    record is refused until each of them is there.

    Args:
        lines: The lines.
        model: The file that they were drawn from.
    """
    left = list_open(lines)
    text = [f"# Drawn from {model} by assay. Behind each line stands where it comes from."]
    if left:
        text += [
            "# Lines marked `# open` have to be decided: take away their `#`, with the right value. Until",
            "# each key of this list is there, the record is refused.",
            f"{OPEN_KEY} = [{', '.join(write_value(line.key) for line in left)}]",
            "",
        ]
    table = ""
    for line in sort_lines(lines):
        if (own := line.key.rpartition(".")[0]) != table:
            text += ["", f"[{own}]"]
            table = own
        text += _write_line(line)
    return "\n".join(text) + "\n"


def _write_line(line: RecordLine) -> Iterator[str]:
    key = line.key.rpartition(".")[2]
    if line.state == "open":
        yield from textwrap.wrap(
            f"open: {key}: {line.source}", _WIDTH, initial_indent="# ", subsequent_indent="#   "
        )
        for likely in line.likely:
            yield f"# {likely.lines[0]}  # guess: {likely.reason}"
            yield from (f"# {more}" for more in likely.lines[1:])
        return
    value = line.value
    source = f"{'guess: ' if line.state == 'guess' else ''}{line.source}"
    written = f"{key} = {write_value(list(value) if isinstance(value, tuple) else value)}"
    if len(written) + len(source) > _WIDTH:
        yield from textwrap.wrap(source, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
        yield written
    else:
        yield f"{written}  # {source}"
