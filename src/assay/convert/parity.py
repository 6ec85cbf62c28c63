"""Parity: how far the logits of an ONNX file lie from torch's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from assay.arrays import Logits
from assay.errors import GateFailedError

MAX_LOGIT_DIFFERENCE = 1e-3


class LogitParity(msgspec.Struct, frozen=True, kw_only=True):
    """How far the logits of an ONNX file lie from torch's, over `image_count` images."""

    image_count: int
    max_difference: float
    top1_agreement_count: int


def measure_logit_parity(reference: Logits, candidate: Logits) -> LogitParity:
    """How far `candidate` lies from `reference`; both are (N, classes), row by row the same images.

    >>> rows = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    >>> measure_logit_parity(rows, rows[:, ::-1]).max_difference
    1.0

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"logits: shapes {reference.shape} and {candidate.shape} differ")
    same_top1 = reference.argmax(axis=1) == candidate.argmax(axis=1)  # (N,)
    return LogitParity(
        image_count=len(reference),
        max_difference=float(np.abs(reference - candidate).max()),
        top1_agreement_count=int(same_top1.sum()),
    )


def require_logit_parity(parity: LogitParity, onnx_path: Path) -> None:
    """Refuse an ONNX file whose logits are not torch's.

    Raises:
        GateFailedError: The largest difference is over 1e-3, or is not a number.
    """
    if not parity.max_difference <= MAX_LOGIT_DIFFERENCE:  # also true for NaN
        raise GateFailedError(
            f"{onnx_path.name}: logits differ from torch by up to {parity.max_difference:.3g} on "
            f"{parity.image_count} images; allowed: {MAX_LOGIT_DIFFERENCE:g}. No file was kept.",
            hint="try another --opset; if that does not help, please report it with the checkpoint's origin",
        )
