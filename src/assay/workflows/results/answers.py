"""The predictions of a run as a table that says of each answer its name, if it is right, and how sure."""

from __future__ import annotations

import pyarrow

from assay.images.preprocessed_image import OK
from assay.inference.predictions import NO_LABEL, Prediction
from assay.measure.accuracy.mistakes import compute_margin
from assay.measure.accuracy.outputs import (
    OutputKind,
    compute_probability,
    recognise_outputs,
    reconcile_outputs,
)
from assay.runs.class_names import find_classes
from assay.runs.stored import StoredRun

_COLUMNS = {
    "class": pyarrow.int32(),
    "class_name": pyarrow.string(),
    "label_name": pyarrow.string(),
    "correct": pyarrow.bool_(),
    "probability": pyarrow.float64(),
    "margin": pyarrow.float64(),
}


def read_answers(run: StoredRun) -> pyarrow.Table:
    """The stored predictions, with columns that say what they mean.

    `class` is the likeliest class, numbered as labels are, null where the image failed. `correct` is whether
    it is the label; a failed image is wrong, one without a label is null. `probability`, 0 to 1, is null
    where the outputs do not tell it. `margin` is the logit of the likeliest class less that of the second
    (of probabilities, the logarithm of their ratio). Names are null where nobody named the classes.

    Raises:
        BadInputError: A file of predictions is missing or damaged.
    """
    table = run.predictions.read_table()
    outputs = reconcile_outputs(recognise_outputs(run.predictions), run.model.output.scores)
    names = find_classes(run.manifest).names
    rows = [_describe(row, outputs, run.label_offset, names) for row in run.predictions]
    for name, kind in _COLUMNS.items():
        table = table.append_column(name, pyarrow.array([row[name] for row in rows], type=kind))
    return table


def _describe(
    row: Prediction, outputs: OutputKind, label_offset: int, names: tuple[str, ...]
) -> dict[str, object]:
    is_answered = row.status in {OK, NO_LABEL} and bool(row.top_classes)
    number = row.top_classes[0] - label_offset if is_answered else None
    return {
        "class": number,
        "class_name": _find_name(names, number),
        "label_name": _find_name(names, row.label),
        "correct": None if row.label is None else number == row.label,
        "probability": compute_probability(row, outputs) if is_answered else None,
        "margin": compute_margin(row, outputs) if is_answered else None,
    }


def _find_name(names: tuple[str, ...], number: int | None) -> str | None:
    return names[number] or None if number is not None and 0 <= number < len(names) else None
