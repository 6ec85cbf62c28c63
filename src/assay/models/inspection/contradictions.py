"""Where a record and the graph of its file cannot both be right, although tensors and sizes fit."""

from __future__ import annotations

from assay.models.inspection.facts import NetworkFacts
from assay.models.inspection.stated_preprocessing import find_pixel_scale
from assay.models.record import ModelRecord


def find_contradictions(facts: NetworkFacts, record: ModelRecord) -> list[str]:
    """What the record says against the file's own graph, in words; mostly nothing."""
    found = []
    front, made = facts.front, record.preprocessing
    scale = find_pixel_scale(front) if front and front.normalises and not front.has_batch_norm else None
    if front is not None and scale is not None and not front.is_transform_input:
        steps = "; ".join(front.steps)
        takes = "pixels of 0 to 255" if scale == 1 else "values of 0 to 1"
        if any(made.mean) or set(made.std) != {1.0}:
            found.append(
                f"the graph normalises its input itself ({steps}), and the model record before: "
                "images are normalised twice"
            )
        elif made.pixel_scale != scale:
            found.append(
                f"the graph takes {takes} ({steps}), but model record {record.name} divides pixels by "
                f"{made.pixel_scale:g}"
            )
    tail = next((each for each in facts.tails if each.port.name == record.output.name), None)
    if (
        tail is not None
        and tail.scores in ("logits", "probabilities", "sigmoid")
        and tail.scores != record.output.scores
    ):
        found.append(
            f"output {tail.port.name} ends in {tail.decided_by} and holds {tail.scores}; model record "
            f"{record.name} says {record.output.scores}"
        )
    if tail is not None and tail.fault:
        found.append(f"output {tail.port.name}: {tail.fault}")
    return found
