"""Lays out help of a command: its options in the order in which they are used, the required ones first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from assay.command_line.front_page import wrap_rows, wrap_text

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

# An option that stands nowhere in this table is shown under HOW.
WHAT, WHERE, HOW, OUTPUT, LIMITS = (
    "What: the model and the images",
    "Where it runs",
    "How",
    "Results",
    "Limits",
)
OPTION_GROUPS: Mapping[str, tuple[str, ...]] = {
    WHAT: (
        "--weights",
        "--model",
        "--images",
        "--labels",
        "--classes",
        "--label-offset",
        "--subset",
        "--limit",
        "--calibration",
        "--input",
        "--import",
        "--like",
        "--real-labels",
        "--trust-labels",
        "--weights-key",
    ),
    WHERE: (
        "--engine",
        "--device",
        "--devices",
        "--device-timeout",
        "--precision",
        "--set",
        "--soc-version",
        "--insert-op-conf",
        "--shard",
        "--ray",
        "--num-gpus",
        "--cpus-per-actor",
        "--resource",
    ),
    HOW: (),
    OUTPUT: (
        "--output",
        "--output-dirname",
        "--outfmt",
        "--resume",
        "--overwrite",
        "--gate",
        "--cannot-tell",
        "--margin",
        "--junit",
        "--file",
        "--baseline",
        "--note",
        "--keep-logits",
        "--write",
        "--toml",
        "--json",
        "--quiet",
    ),
    LIMITS: (
        "--follow-links",
        "--max-pixels",
        "--max-image-mib",
        "--max-label-mib",
        "--stop-error",
        "--shard-size",
    ),
}
SHOWN_AS_NONE = {"False", '""', "()", "None"}


class HelpPage:
    """Shows a help page in groups without borders; cyclopts calls it for each of its own panels.

    Args:
        example: A command line, shown below what the command does; none if empty.
    """

    def __init__(self, example: str = "") -> None:
        self._example = example

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Show how the command is called."""
        text = str(usage).strip()
        _show(console, wrap_text(text if text.startswith("Usage") else f"Usage: {text}", options.max_width))

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Show what the command does."""
        text = str(getattr(description, "primary_renderable", description) or "")
        _show(console, ["", *wrap_text(text, options.max_width)])
        if self._example:
            _show(console, wrap_text(f"Example: {self._example}", options.max_width, indent="  "))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Show one panel, cut into groups."""
        for title, entries in _group_entries(panel):
            console.print(f"\n[bold]{title}[/bold]", highlight=False)
            rows = [(_name(entry), " ".join(_describe(entry))) for entry in entries]
            _show(console, wrap_rows(rows, options.max_width))


def _show(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _group_entries(panel: HelpPanel) -> Iterator[tuple[str, list[HelpEntry]]]:
    """The groups that have entries; within each, required ones come first, then the order of the tables."""
    arguments = [entry for entry in panel.entries if entry.positional_label]
    options = [entry for entry in panel.entries if not entry.positional_label]
    if arguments:
        yield "Arguments", arguments
    yield from _sort_options(options)


def _sort_options(options: Iterable[HelpEntry]) -> Iterator[tuple[str, list[HelpEntry]]]:
    places = {
        name: (title, place) for title, names in OPTION_GROUPS.items() for place, name in enumerate(names)
    }
    entries = list(options)
    if not any(entry.all_options[0] == "--engine" for entry in entries):
        places["--set"] = (WHAT, len(places))  # a line of the record, no setting of an engine
    sorted_entries: dict[str, list[tuple[bool, int, HelpEntry]]] = {title: [] for title in OPTION_GROUPS}
    for number, entry in enumerate(entries):
        title, place = places.get(entry.all_options[0], (HOW, len(places) + number))
        sorted_entries[title].append((not entry.required, place, entry))
    for title, found in sorted_entries.items():
        if found:
            yield title, [entry for *_, entry in sorted(found, key=lambda item: item[:2])]


def _name(entry: HelpEntry) -> str:
    return " ".join(entry.display_labels_with_metavar)


def _describe(entry: HelpEntry) -> Iterator[str]:
    if entry.required:
        yield "Required."
    yield str(getattr(entry.description, "primary_renderable", entry.description) or "").strip()
    if entry.choices:
        yield f"[{' | '.join(entry.choices)}]"
    if entry.default is not None and entry.default not in SHOWN_AS_NONE:
        default = f"{int(entry.default):,}" if entry.default.isdigit() else entry.default
        yield f"[default:\xa0{default}]"
