"""A whole search: the steps, without what the end does not need, and what may be right in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from assay.diagnose.evidence import SIGNIFICANT, compute_gain_p, compute_paired_p
from assay.diagnose.search import Attempt, Step, climb, differ, is_better
from assay.diagnose.stage import Stage, State
from assay.diagnose.view import Family, View, take_over

_MOST_TIES = 6  # that are tried again


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """What a search over a record went through.

    Args:
        start: The record as given, shown all photographs.
        end: With the changes, shown all photographs.
        steps: All that was tried.
        ties: Hypotheses of another kind that may be right in place of a change, and what they give.
    """

    start: State
    end: State
    steps: tuple[Step, ...]
    ties: tuple[tuple[Attempt, State], ...] = ()


def search_record(stage: Stage, start: State, hear: Callable[[str], None]) -> Search:
    """Look for changes of the record that raise the accuracy.

    Args:
        stage: The photographs and the network.
        start: The record as given, shown all photographs.
        hear: Told what is being done.
    """
    end, steps = climb(stage, start, hear)
    end = take_back(stage, start, end, steps)
    ties = find_ties(stage, end, steps)
    end = replace(end, view=_correct_scores(stage, end.view))
    return Search(start=start, end=end, steps=tuple(steps), ties=tuple(ties))


def take_back(stage: Stage, start: State, end: State, steps: Sequence[Step]) -> State:
    """The end of a search without the changes that are not proven any more where the others are made.

    Args:
        stage: The photographs and the network.
        start: The record as given, shown all photographs.
        end: Where the steps lead, shown all photographs.
        steps: The steps.
    """
    families = list(dict.fromkeys(family for step in steps if step.taken for family in step.taken.families))
    for family in families if len(families) > 1 else []:
        without = _exchange(stage, end, (family,), start, ())
        if not _is_proven(without, end):
            end = without
    return end


def find_ties(stage: Stage, end: State, steps: Sequence[Step]) -> list[tuple[Attempt, State]]:
    """What may be right in place of a change that was taken, with all the others made, and what it gives.

    Two faults at once are as good as each other alone; with the other undone only one of them is.
    """
    found = []
    for step in steps:
        for tie in step.ties[:_MOST_TIES]:
            assert step.taken is not None
            put_back = _exchange(stage, end, step.taken.families, step.state, ())
            other = _exchange(stage, put_back, tie.families, tie.state, (tie.state,))
            if compute_paired_p(differ(other, end)) > SIGNIFICANT:
                found.append((tie, other))
    return found


def _correct_scores(stage: Stage, view: View) -> View:
    """The view whose record says what the outputs are: logits or probabilities; the answers are the same."""
    output = msgspec.structs.replace(view.record.output, scores=stage.tell_scores(view))
    return replace(view, record=msgspec.structs.replace(view.record, output=output))


def _exchange(
    stage: Stage, state: State, families: Sequence[Family], source: State, known: Sequence[State]
) -> State:
    """The state with some families of the view, and perhaps the label map, taken from another state."""
    view, label_map = state.view, state.label_map
    for family in families:
        if family == "labels":
            label_map = source.label_map
        else:
            view = take_over(view, source.view, family)
    there = next((one for one in (*known, state) if one.view == view), None)
    return stage.show(view, label_map, known=there)


def _is_proven(state: State, other: State) -> bool:
    return compute_gain_p(differ(state, other)) < SIGNIFICANT and is_better(state, other)
