"""What a comparison of two forms of a network found: each tensor's own error, and what repairs restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

NetworkOutcome = Literal["same", "damaged", "spread"]
SUSPECT_DB = 28.0  # of a healthy int8 network the lowest was 30, of a healthy float one 62


class LayerError(msgspec.Struct, frozen=True, kw_only=True):
    """The error that one layer makes by itself, fed with the reference's own tensors.

    `sqnr_db` is ten times the decimal logarithm of signal over error, of all images; None without an error.
    `is_finite` is false where the layer gives infinities or not-a-number. `processor_sqnr_db` is the ratio in
    this processor's own integers, where the file is quantised: without VNNI sums of 16 bits saturate.
    """

    name: str
    operator: str
    tensor: str
    sqnr_db: float | None
    is_finite: bool = True
    processor_sqnr_db: float | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether the error is larger than those of a healthy int8 network."""
        return not self.is_finite or (self.sqnr_db is not None and self.sqnr_db < SUSPECT_DB)

    @property
    def saturates(self) -> bool:
        """Whether the layer is sound as the file has it, and not in this processor's integers."""
        found = self.processor_sqnr_db
        return not self.is_suspect and found is not None and found < SUSPECT_DB


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """The model with its guiltiest layers as in the reference: how many images get the reference's answer."""

    layer_count: int
    same_count: int
    hits: int | None


class NetworkFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model differs from its reference.

    Args:
        outcome: "same": no answer differs and no layer is suspect; "damaged": by `layers`; "spread": answers
            differ, but no layer stands out.
        image_count: Images whose answers were compared.
        reference_hits: Of the reference; None without labels.
        layers: The suspects, guiltiest first; layers that this processor alone computes wrongly come last.
        saturated: Those that this processor alone computes wrongly.
        errors: Every tensor that both compute, guiltiest first.
        repairs: With ever more of the suspects as in the reference; the first with none.
        keep_float: The layers whose repair restores most answers, fewest first, as `--keep-float` takes them.
    """

    outcome: NetworkOutcome
    image_count: int
    reference_hits: int | None
    layers: tuple[str, ...]
    errors: tuple[LayerError, ...]
    repairs: tuple[Repair, ...]
    keep_float: tuple[str, ...] = ()
    saturated: tuple[str, ...] = ()


def rank_errors(errors: Sequence[LayerError]) -> list[LayerError]:
    """The errors, guiltiest first: what is not finite, then the lowest ratio of signal to error."""
    return sorted(errors, key=lambda one: (one.is_finite, one.sqnr_db is None, one.sqnr_db or 0.0))


def choose_repair(repairs: Sequence[Repair]) -> Repair:
    """The repair of the fewest layers that restores as many answers as any."""
    most = max(one.same_count for one in repairs)
    return next(one for one in repairs if one.same_count == most)
