"""`cascade.json`: the threshold of a cascade, how it was chosen, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.errors import EngineError, shorten
from assay.files import decode_json
from assay.models.record import ScoreKind

CASCADE = "cascade"
CASCADE_JSON = "cascade.json"
FAST_FOLDER, EXACT_FOLDER = "fast", "exact"


class CascadeCount(msgspec.Struct, frozen=True, kw_only=True):
    """What some images say of a cascade; a failed image is a different one.

    `fast_different_count` answered otherwise by the fast model alone, `different_count` by the cascade.
    `handed_on_count` were below the threshold. `upper_percent` is the one-sided 95 % bound (Clopper and
    Pearson) on the share of different answers; None where the images cannot bound it.
    """

    image_count: int
    failed_count: int
    fast_different_count: int
    different_count: int
    handed_on_count: int
    upper_percent: float | None


class CascadeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How two compiled models answer as one.

    Args:
        fast: What answers, such as `openvino int8 on CPU`.
        exact: What answers the images that are handed on.
        scores: What the fast model's scores are taken for when margins are computed.
        threshold: An image is handed on where the margin of its two largest logits is not above it.
        max_different_percent: Different answers that were to be left at most, in percent of all images.
        noise_threshold: What the model of the margins' changes asked for.
        counted_threshold: What the different answers that were seen asked for.
        chosen_on: What the images say that the threshold was chosen on.
        stated: What the others say, on which nothing was chosen.
        needed_count: Images that it takes to prove `max_different_percent`, where not one is different.
        calibration_count: How many of all images the fast model was calibrated on.
        stated_calibrated_count: How many of those are among `stated`, where there were no others: the bound
            is then of images that the model was made for.
        images_sha256: Of the paths and sizes of all images.
    """

    schema_version: int = 1
    fast: str
    exact: str
    scores: ScoreKind
    threshold: float
    max_different_percent: float
    noise_threshold: float
    counted_threshold: float
    chosen_on: CascadeCount
    stated: CascadeCount
    needed_count: int
    calibration_count: int = 0
    stated_calibrated_count: int = 0
    images_sha256: str = ""

    @property
    def is_proven(self) -> bool:
        """Whether no more different answers are left than were asked for, by the bound."""
        upper = self.stated.upper_percent
        return upper is not None and upper <= self.max_different_percent and not self.stated_calibrated_count


def name_model(engine: str, precision: str, device: str) -> str:
    """What one of a cascade's models is called, such as `openvino int8 on CPU`."""
    return f"{engine} {precision} on {device}"


def write_cascade_json(record: CascadeRecord, folder: Path) -> None:
    """Write `cascade.json` into the folder, which is being made."""
    (folder / CASCADE_JSON).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def read_cascade_json(folder: Path) -> CascadeRecord:
    """What `cascade.json` of a cascade's folder says.

    Raises:
        EngineError: It cannot be read.
    """
    path = folder / CASCADE_JSON
    try:
        return decode_json(path.read_bytes(), kind=CascadeRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise EngineError(
            f"{path} cannot be read: {shorten(error)}", hint="make the cascade again"
        ) from error
