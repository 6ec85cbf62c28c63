"""Which images get another answer than from the reference, and what they have in common."""

from __future__ import annotations

from assay.diagnose.changed_images import ImagesFinding
from assay.report.tables.table import Table

_NAMED = 5


def describe_changed(found: ImagesFinding, reference: str = "the reference") -> list[str]:
    """What changed against the reference, how far its margin explains it, and what adds to it."""
    count = len(found.changed)
    if not count:
        return [f"No answer differs from that of {reference} on {found.image_count} images."]
    which = "" if found.lost_count is None else f" ({found.lost_count} lost, {found.won_count} won)"
    lines = [f"{count} of {found.image_count} images get another answer than from {reference}{which}."]
    if found.margin_auc is not None:
        lines.append(
            f"A small margin of the reference tells them from the others: AUC {found.margin_auc:.2f} (0.5: "
            "not at all, 1: wholly)."
        )
    if found.attributes:
        lines.append(f"More than their margin explains: {', '.join(found.attributes)}.")
    else:
        lines.append(f"No trait adds to that. {_say_power(found, count)}")
    if found.decoders:
        said = ", ".join(f"{one.name} {len(one.flipped)}" for one in found.decoders)
        lines.append(
            f"Of {found.decoders[0].image_count} changed JPEGs another decoder alone changes the model's "
            f"answer again: {said}."
        )
    return [*lines, f"Changed, smallest margin first: {_name_first(found)}"]


def _say_power(found: ImagesFinding, count: int) -> str:
    """How large an effect would have been found."""
    if found.seen_odds is None:
        return f"{count} changed images are too few to find any."
    return (
        f"Only large effects could have been found: with {count} changed images one that multiplies the "
        f"odds by {found.seen_odds:g} (80 % power, of a trait that half of the images have)."
    )


def make_trait_table(found: ImagesFinding, title: str = "Images that changed") -> Table:
    """Every trait, how many with and without it changed, and the tests."""
    rows = tuple(
        (
            one.name,
            f"{one.changed_with} of {one.with_count}",
            f"{one.changed_without} of {one.without_count}",
            f"{one.p_value:.2g}",
            f"{one.p_given_margin:.2g}",
        )
        for one in found.traits
    )
    header = ("Trait", "Changed with", "Without", "p", "p given margin")
    return Table(title=title, header=header, rows=rows, notes=("p after Holm, exact tests.",))


def _name_first(found: ImagesFinding) -> str:
    more = f" and {len(found.changed) - _NAMED} more" if len(found.changed) > _NAMED else ""
    return ", ".join(found.changed[:_NAMED]) + more
