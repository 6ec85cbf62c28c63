"""Names for the arrays that pass between the stages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Decoded picture: uint8 (height, width, 3), RGB, 0 to 255; or a batch of crops, (N, height, width, 3)."""

Picture = Pixels | npt.NDArray[np.float32]
"""What is normalised: pixels, or float32 (height, width, channels) where the sampling makes fractions."""

Images = npt.NDArray[np.float32]
"""Preprocessed, normalised batch: float32 (N, 3, height, width), C-contiguous."""

Batch = Images | Pixels
"""What a session is given: images, or the pixels they are made of where it normalises them itself."""

Logits = npt.NDArray[np.float32]
"""What the network says before softmax: float32 (N, classes); a larger value is a likelier class."""
