"""The C extension `_numbers.c`; it is not there where no compiler was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

def parse_lines(lines: tuple[bytes, ...], out: npt.NDArray[np.float64], /) -> bool: ...
