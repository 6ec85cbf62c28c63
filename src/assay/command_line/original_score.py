"""The original scoring command: its arguments need no parser of options, whose import takes longest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.command_line.guard import run_to_end, show_errors, show_outcome
from assay.command_line.outcome import Outcome

if TYPE_CHECKING:
    from assay.workflows.modelzoo.score import ScoreOptions


def main(arguments: Sequence[str]) -> int:
    """`assay score` with these arguments; without its parser where they are the original's alone."""
    is_plain = len(arguments) in {3, 4} and not any(text.startswith("-") for text in arguments)
    is_supplied = Path("assay.toml").exists() or any(name.startswith("ASSAY_") for name in os.environ)
    if not is_plain or is_supplied:
        from assay.command_line.app import main as run_any

        return run_any(["score", *arguments])
    results, labels, folder, *name = arguments
    result_path = Path(folder) / (name[0] if name else "result.json")
    score = partial(run_score, Path(results), Path(labels), result_path)
    show = partial(show_outcome, score, as_json=False)
    return run_to_end(partial(show_errors, show, as_json=False), is_process=False)


def run_score(
    results: Path,
    labels: Path,
    result_path: Path,
    options: ScoreOptions | None = None,
    *,
    quiet: bool = False,
) -> Outcome:
    """Score a result folder, and say what was found.

    Args:
        results: Folder with `NAME_0.txt`, `.bin` or `.npy` files.
        labels: Label file.
        result_path: Where the result goes.
        options: The defaults if None.
        quiet: Whether nothing is said on the way.
    """
    from assay.command_line.terminal import open_listener
    from assay.measure.accuracy.accuracy import describe_topk
    from assay.workflows.modelzoo.score import DEFAULT_SCORE_OPTIONS, score_results

    with open_listener(quiet=quiet) as listener:
        done = score_results(results, labels, result_path, listener, options or DEFAULT_SCORE_OPTIONS)
    accuracy, coverage = done.metrics.accuracy, done.metrics.coverage
    lines = [
        *(describe_topk(name, topk, accuracy) for name, topk in accuracy.shown),
        f"{coverage.result_count:,} results, {coverage.label_count:,} labels; without a result: "
        f"{coverage.missing_count:,}; without a label, not scored: {coverage.surplus_count:,}",
        str(done.result_path),
    ]
    return Outcome(lines=lines, document={"score": done})
