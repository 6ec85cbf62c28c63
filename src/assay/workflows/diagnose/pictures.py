"""The images whose answers changed, as a page shows them side by side."""

from __future__ import annotations

from collections.abc import Sequence

from assay.diagnose.changed_images import Answer, ChangedImage, ImagesFinding
from assay.images.classes import Classes, read_classes
from assay.models.record import ModelRecord
from assay.report.named_run import Guess, Picture
from assay.report.thumbnail import make_thumbnail
from assay.workflows.diagnose.photographs import Shown

MOST_PICTURES = 30


def make_pictures(found: ImagesFinding, shown: Shown, record: ModelRecord) -> tuple[Picture, ...]:
    """The first 30 of the changed images: those that were lost, those that were won, then the others."""
    classes, offset = read_classes(record), record.output.label_offset
    kinds = ("lost", "won", "changed")
    chosen = sorted(found.details, key=lambda one: kinds.index(one.kind))[:MOST_PICTURES]
    places = {name: place for place, name in enumerate(shown.names)}
    return tuple(
        Picture(
            relative_path=one.name,
            kind=one.kind,
            label=_name_label(one, classes, offset),
            top=_list_guesses(one.candidate, classes, offset),
            reference_top=_list_guesses(one.reference, classes, offset),
            thumbnail=make_thumbnail(shown.photographs[places[one.name]].pixels),
            note=_describe_margins(one),
        )
        for one in chosen
    )


def _name_label(one: ChangedImage, classes: Classes, offset: int) -> str:
    if one.class_index is None:
        return "none"
    return _name_class(one.class_index, classes, offset)


def _name_class(number: int, classes: Classes, offset: int) -> str:
    """What a class of the output is called; -1 is none."""
    if number < 0:
        return "no class"
    return classes.describe(number - offset) if number >= offset else f"class {number} of the output"


def _list_guesses(answers: Sequence[Answer], classes: Classes, offset: int) -> list[Guess]:
    return [
        Guess(
            name="scores that are not finite"
            if one.class_index < 0
            else _name_class(one.class_index, classes, offset),
            logit=float("nan"),
            share=one.probability,
        )
        for one in answers
    ]


def _describe_margins(one: ChangedImage) -> str:
    margins = (one.reference_margin, one.candidate_margin)
    said = ["none" if margin is None else f"{margin:.2g}" for margin in margins]
    return f"Margin: {said[0]} in the reference, {said[1]} here"
