"""Lays out help: commands and options in the order in which they are used, the required ones first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

# A command or an option that stands nowhere in these two tables is shown under STEPS and HOW.
START, STEPS, RESULTS, MACHINE, ORIGINAL, MORE = (
    "Start here",
    "Step by step",
    "Results",
    "This machine, models and data",
    "The original workflow",
    "Help",
)
COMMAND_GROUPS: Mapping[str, tuple[str, ...]] = {
    START: ("demo", "run"),
    STEPS: (
        "fetch",
        "inspect",
        "init",
        "export",
        "quantize",
        "compile",
        "cascade",
        "evaluate",
        "predict",
        "benchmark",
        "merge",
    ),
    RESULTS: ("report", "compare", "runs", "history", "agree", "diagnose", "bundle", "verify"),
    MACHINE: ("doctor", "engines", "models", "index"),
    ORIGINAL: ("preprocess", "info", "infer", "score"),
    MORE: ("help", "completion", "--help", "--version"),
}
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
EXAMPLES: Mapping[str, str] = {
    "agree": "assay agree compiled-fp32 compiled-int8 --images val --batches 1,8",
    "benchmark": "assay benchmark compiled --batch-size 1,8 -o runs/speed",
    "bundle": "assay bundle runs/int8 int8.zip",
    "cascade": "assay cascade compiled-int8 compiled-fp32 both --images val",
    "compare": "assay compare runs/fp32 runs/int8",
    "compile": "assay compile model.onnx compiled --engine openvino",
    "demo": "assay demo",
    "diagnose": "assay diagnose runs/int8 --images val",
    "doctor": "assay doctor --images val",
    "engines": "assay engines",
    "evaluate": "assay evaluate compiled --images val -o runs/accuracy",
    "export": "assay export weights.pth model.onnx --model efficientnet_lite0",
    "help": "assay help own-classes",
    "completion": "assay completion bash > ~/.local/share/bash-completion/completions/assay",
    "fetch": "assay fetch efficientnet_lite0",
    "index": "assay index train -o train.arrow",
    "history": "assay history add runs/nightly --gate no-worse-than:baseline",
    "infer": "assay infer compiled -i bins -o results",
    "info": "assay info bin bins info.txt 224 224",
    "init": "assay init model.onnx --like timm/resnet18",
    "inspect": "assay inspect model.onnx -o record.toml",
    "merge": "assay merge runs/shared",
    "models": "assay models seresnext",
    "predict": "assay predict model.onnx --images photographs -o predictions.csv",
    "preprocess": "assay preprocess val bins --model efficientnet_lite0",
    "quantize": "assay quantize model.onnx int8.onnx --calibration val",
    "report": "assay report runs/fp32 runs/int8 -o report",
    "run": "assay run --weights model.onnx --images val --model record.toml -o runs/first",
    "runs": "assay runs runs",
    "score": "assay score results val_label.txt scores",
    "verify": "assay verify int8.zip",
}
SHOWN_AS_NONE = {"False", '""', "()", "None"}


class HelpPage:
    """Shows a help page in groups without borders; cyclopts calls it for each of its own panels."""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:  # noqa: ARG002
        """Show how the command is called."""
        text = str(usage).strip()
        console.print(text if text.startswith("Usage") else f"Usage: {text}", markup=False, highlight=False)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:  # noqa: ARG002
        """Show what the command does."""
        console.print()
        console.print(description, end="")

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:  # noqa: ARG002
        """Show one panel, cut into groups."""
        from rich.table import Table
        from rich.text import Text

        groups = list(_group_entries(panel))
        width = max((len(_name(entry)) for _, entries in groups for entry in entries), default=0)
        for title, entries in groups:
            console.print(Text(f"\n{title}", "bold"))
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(width=min(width, 28) + 2)
            table.add_column()
            for entry in entries:
                table.add_row(Text(f"  {_name(entry)}"), Text(" ".join(_describe(entry))))
            console.print(table)


def _group_entries(panel: HelpPanel) -> Iterator[tuple[str, list[HelpEntry]]]:
    """The groups that have entries; within each, required ones come first, then the order of the tables."""
    if panel.format == "command":
        yield from _sort_into(COMMAND_GROUPS, STEPS, panel.entries)
        return
    arguments = [entry for entry in panel.entries if entry.positional_label]
    options = [entry for entry in panel.entries if not entry.positional_label]
    if arguments:
        yield "Arguments", arguments
    yield from _sort_into(OPTION_GROUPS, HOW, options)


def _sort_into(
    groups: Mapping[str, tuple[str, ...]], rest: str, entries: Iterable[HelpEntry]
) -> Iterator[tuple[str, list[HelpEntry]]]:
    places = {name: (title, place) for title, names in groups.items() for place, name in enumerate(names)}
    sorted_entries: dict[str, list[tuple[bool, int, HelpEntry]]] = {title: [] for title in groups}
    for number, entry in enumerate(entries):
        title, place = places.get(entry.all_options[0], (rest, len(places) + number))
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
        yield (
            f"[default: {int(entry.default):,}]" if entry.default.isdigit() else f"[default: {entry.default}]"
        )
