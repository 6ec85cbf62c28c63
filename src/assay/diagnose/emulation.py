"""What another chip's arithmetic is predicted to do to the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.diagnose.changed_images import ImagesFinding

Arithmetic = Literal["fp16", "bf16", "tf32", "int8-no-vnni"]
ARITHMETICS: tuple[Arithmetic, ...] = ("fp16", "bf16", "tf32", "int8-no-vnni")
FIRST_INFINITE = {"fp16": 65520.0}  # what binary16 rounds to infinity; the others reach as far as float32
# What another order of sums, or another kernel, moves margins by, over what the arithmetic does, three times:
# measured of EfficientNet-Lite0, bf16 against torch's own 0.16, int8 against OpenVINO's on AVX2 0.4
_NEAR, _NEAR_INT8 = 0.5, 1.2


class Emulation(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted: which images get another answer in a chip's arithmetic than in float32 or exact integers.

    Args:
        arithmetic: What is emulated.
        images: What changes, and what it has in common.
        margin_change: The standard deviation of what the arithmetic does to the margin of the reference's
            answer over its runner-up; None where a score is not finite.
        at_risk: Images whose answer is kept, with a margin below half such a deviation (int8: 1.2): a chip
            sums up in another order, or by other kernels, and may answer otherwise. Smallest margin first.
        peak: The largest value of a tensor that is stored, and `peak_layer` its layer; None where the range
            is that of float32.
        overflowing: Layers whose values are beyond the range, first in the graph first.
        saturating: Of int8: how many pairs of weights can saturate, by layer.
    """

    arithmetic: Arithmetic
    images: ImagesFinding
    margin_change: float | None
    at_risk: tuple[str, ...]
    peak: float | None = None
    peak_layer: str = ""
    overflowing: tuple[str, ...] = ()
    saturating: Mapping[str, int] = {}

    def name_exact(self) -> str:
        """What the emulated arithmetic is compared with."""
        return "exact integers" if self.arithmetic == "int8-no-vnni" else "float32"


def find_at_risk(
    names: Sequence[str], scores: NDArray[np.float64], emulated: NDArray[np.float64], arithmetic: Arithmetic
) -> tuple[float | None, tuple[str, ...]]:
    """How far margins move, and the images whose answer is kept by little more.

    Args:
        names: Of the images.
        scores: In float32, (N, classes).
        emulated: In the other arithmetic, (N, classes).
        arithmetic: Which one.
    """
    if not (np.isfinite(scores).all() and np.isfinite(emulated).all()) or scores.shape[1] < 2:
        return None, ()
    rows = np.arange(len(scores))
    first, second = np.argsort(-scores, axis=1, kind="stable")[:, :2].T
    before = scores[rows, first] - scores[rows, second]
    after = emulated[rows, first] - emulated[rows, second]
    deviation = float(np.sqrt(np.mean((after - before) ** 2)))
    top = np.sort(emulated, axis=1)
    margins = top[:, -1] - top[:, -2]
    is_kept = emulated.argmax(axis=1) == first
    near = deviation * (_NEAR_INT8 if arithmetic == "int8-no-vnni" else _NEAR)
    order = np.argsort(margins, kind="stable")
    return deviation, tuple(names[k] for k in order if is_kept[k] and margins[k] < near)
