"""SE-ResNeXt-50 with few channels: the layers and names of the real one, and a fiftieth of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from assay.checkpoint import network


@contextmanager
def build_narrow() -> Iterator[None]:
    """Networks that are built meanwhile have 128 channels after each stage, in place of 256 to 2048."""
    with patch.object(network, "PLANES_PER_STAGE", (32, 32, 32, 32)):
        yield
