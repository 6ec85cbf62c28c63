"""The answer of `assay diagnose` in words, and the table of what was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assay.diagnose.changed_images import ImagesFinding
from assay.diagnose.finding import HypothesisTrial, RecordFinding
from assay.diagnose.network_finding import NetworkFinding
from assay.diagnose.view import Change, is_of_record
from assay.report.changed import describe_changed, make_trait_table
from assay.report.layers import describe_network, list_network_tables
from assay.report.tables.table import Table

_SHOWN = 12
_NAMED = 3


def describe_diagnosis(
    record: RecordFinding | None, network: NetworkFinding | None, images: ImagesFinding | None
) -> list[str]:
    """The answer, a sentence or two for each part, and the lines to change."""
    lines = []
    if record is not None:
        notes = (f"Note: {one}." for one in (*_list_rest(record), *record.remarks))
        lines += [_say_outcome(record), *_list_lines(record.changes), *notes]
    if network is not None:
        lines += describe_network(network)
    return lines if images is None else [*lines, *describe_changed(images)]


def list_cause_tables(
    record: RecordFinding | None, network: NetworkFinding | None, images: ImagesFinding | None
) -> list[Table]:
    """The tables of the parts that were looked at."""
    tables = [] if record is None else [make_hypothesis_table(record)]
    if network is not None:
        tables += list_network_tables(network)
    return tables if images is None or not images.traits else [*tables, make_trait_table(images)]


def make_hypothesis_table(found: RecordFinding, shown: int = _SHOWN) -> Table:
    """What was tried, the best of each step first, so many of each, with the gain of each."""
    rows = [_make_row(one) for step in list_steps(found) for one in step[:shown]]
    is_cut = any(len(step) > shown for step in list_steps(found))
    return Table(
        title="Hypotheses",
        header=("Step, hypothesis", "Images", "Top-1, points", f"{name_score(found)} (95 %)", "p (Holm)"),
        rows=tuple(rows),
        notes=(f"* taken{f'; the {shown} best of each step' if is_cut else ''}.",),
    )


def list_steps(found: RecordFinding) -> list[list[HypothesisTrial]]:
    """The trials of each step, the largest gain first."""
    numbers = sorted({trial.step for trial in found.trials})
    trials = sorted(found.trials, key=lambda one: -one.score_gain)
    return [[one for one in trials if one.step == number] for number in numbers]


def name_score(found: RecordFinding) -> str:
    """What hypotheses are compared by."""
    return "log p(label)" if found.has_labels else "probability"


def _say_outcome(found: RecordFinding) -> str:
    if found.outcome == "nothing":
        return _say_nothing(found)
    what = "One change explains it" if len(found.changes) == 1 else f"{len(found.changes)} changes explain it"
    if found.outcome == "helps":
        what = "This helps, but does not explain it"
    if found.outcome == "undecided":
        return f"{_say_undecided(found)} {_say_gain(found)}"
    return f"{what}. {_say_gain(found)}"


def _list_rest(found: RecordFinding) -> Iterator[str]:
    """What else may be wrong, and what cannot be told from what was taken."""
    if found.outcome == "helps" and found.alternatives:
        needed = f"; about {found.images_needed:,} images would tell" if found.images_needed else ""
        yield f"not proven, but likely besides: {', '.join(found.alternatives[:_NAMED])}{needed}"
    if found.changes and found.equals:
        yield f"not to be told from what was taken: {', '.join(found.equals[:_NAMED])}"
    if found.outcome == "helps" and found.explained_percent is not None:
        yield f"it wins back {found.explained_percent:.0f} % of the loss"


def _say_undecided(found: RecordFinding) -> str:
    """Between what, and how many images would tell."""
    listed = ", ".join(found.alternatives[:_NAMED])
    more = f" and {len(found.alternatives) - _NAMED} more" if len(found.alternatives) > _NAMED else ""
    fit = "fit as well as what is shown below" if found.changes else "may help, which is not proven"
    text = f"Undecided on {found.image_count} images: {listed}{more} {fit}."
    if found.images_needed is None or found.images_needed <= found.image_count:
        return text
    return f"{text} About {found.images_needed:,} images would tell."


def _say_nothing(found: RecordFinding) -> str:
    if found.before is None:
        return (
            "Nothing in the record explains a loss, as far as probabilities alone can tell: they see "
            "colour, normalisation, layout and rotation, but not geometry or labels. Give --labels for more."
        )
    text = f"Nothing in the record explains a loss: Top-1 is {found.before.hits} of {found.image_count}."
    if found.excluded_points is None:
        return f"{text} Each of {len(found.trials)} hypotheses scores worse."
    return (
        f"{text} A gain of more than {found.excluded_points:.1f} points is excluded (95 %) for those of "
        f"{len(found.trials)} hypotheses that did not score worse early on."
    )


def _say_gain(found: RecordFinding) -> str:
    if found.before is None or found.after is None or found.paired is None:
        return "Without labels this rests on the network's own probabilities, which is weaker."
    low, high = found.paired.interval_points
    text = (
        f"Top-1 {found.before.hits} -> {found.after.hits} of {found.image_count}: "
        f"{found.paired.difference_points:+.1f} points (95 %: {low:+.1f} to {high:+.1f})."
    )
    if found.reference_percent is None:
        return text
    return f"{text} {found.reference_percent:.2f} % is expected ({found.reference_source})."


def _list_lines(changes: Sequence[Change]) -> list[str]:
    lines = []
    for change in changes:
        if is_of_record(change):
            lines.append(f"  {_name_key(change.factor)} = {_write(change.new)}  (was: {_write(change.old)})")
        else:
            lines.append(f"  {change.factor}: {change.new} (was: {change.old})")
    return lines


def _name_key(factor: str) -> str:
    """The key of the record with its table."""
    if factor.startswith("output."):
        return factor
    tables = {"colour_order": "input", "scores": "output"}
    return f"{tables.get(factor, 'preprocessing')}.{factor}"


def _write(value: object) -> str:
    return "not set" if value is None else msgspec.json.encode(value).decode()


def _make_row(trial: HypothesisTrial) -> tuple[str, ...]:
    low, high = trial.score_interval
    return (
        f"{trial.step}{'*' if trial.is_taken else ' '} {trial.name}",
        f"{trial.image_count}",
        f"{trial.paired.difference_points:+.1f}" if trial.paired else "-",
        f"{trial.score_gain:+.2f} ({low:+.2f} to {high:+.2f})",
        _write_p(trial.p_value),
    )


def _write_p(p_value: float) -> str:
    if p_value >= 1:
        return "-"
    return f"{p_value:.2g}" if p_value >= 1e-4 else "< 0.0001"
