"""Runs of a history written down by hand: their accuracy image by image, and their speeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from assay.runs.history_file import HistoryRun, ResultSeries, StoredAccuracy, StoredSpeed
from assay.runs.results_file import Manifest

SERIES = ResultSeries(
    model="m", engine="openvino", device="CPU", precision="fp32", machine="Example CPU, 4 processors"
)


def make_accuracy(is_right: npt.NDArray[np.bool_], **changes: Any) -> StoredAccuracy:
    """An accuracy of these answers, over images, with a preprocessing, that are always the same."""
    found = StoredAccuracy(
        series=SERIES,
        images="a" * 64,
        preprocessing="b" * 64,
        image_count=len(is_right),
        failed_count=0,
        top1_hits=int(is_right.sum()),
        is_right=np.packbits(is_right).tobytes(),
    )
    return msgspec.structs.replace(found, **changes)


def make_speed(rates: Iterable[float], *invalid: str, batch_size: int = 8) -> StoredSpeed:
    """A speed of these repeats."""
    return StoredSpeed(
        series=SERIES,
        batch_size=batch_size,
        clock="call",
        caller_count=1,
        setting="",
        images_per_second=tuple(map(float, rates)),
        invalid=invalid,
    )


def make_run(
    manifest: Manifest,
    number: int,
    accuracy: StoredAccuracy | None = None,
    *speeds: StoredSpeed,
    is_baseline: bool = False,
) -> HistoryRun:
    """A run, the later the higher its number."""
    started = f"2026-01-{number:02d}T00:00:00Z"
    return HistoryRun(
        number=number,
        sha256=f"{number:064x}",
        added=started,
        started=started,
        folder=f"runs/{number}",
        is_baseline=is_baseline,
        manifest=msgspec.structs.replace(manifest, started=started),
        accuracy=accuracy,
        speeds=speeds,
    )
