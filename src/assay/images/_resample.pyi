"""The C extension `_resample.c`; it is not there where no compiler was."""

from __future__ import annotations

from assay.arrays import Images, Pixels

HAS_AVX2: bool

def resample_crop(
    pixels: Pixels,
    out: Pixels | Images,
    table: Images | None,
    new_width: int,
    new_height: int,
    left: int,
    top: int,
    filter: str,
    down_first: bool,
    bgr: bool,
    avx2: bool,
    /,
) -> None: ...
