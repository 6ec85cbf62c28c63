"""A small model whose logits tell which picture it saw, and such pictures."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from PIL import Image

from assay.arrays import Batch, Logits
from assay.engines.engine import SessionDescription
from assay.images.listing import LabelledImage
from assay.models.record import ModelRecord
from session_double import SessionDouble

CLASS_COUNT = 16
MakeSource = Callable[..., LabelledImage]


class MeanSession(SessionDouble):
    """A session whose logit for class k is the larger, the nearer the mean of its pixels is to 16 k.

    It counts the calls under way and remembers the size of every batch.
    """

    def __init__(self, concurrency: int = 1, *, takes_pixels: bool = False) -> None:
        self.concurrency = concurrency
        self.description = SessionDescription(runtime="double", device_name="none", takes_pixels=takes_pixels)
        self.batch_sizes: list[int] = []
        self.most_calls_at_once = 0
        self._calls_at_once = 0
        self._lock = threading.Lock()

    def run(self, images: Batch) -> Logits:
        takes_pixels = self.description.takes_pixels
        assert images.shape[1:] == ((8, 8, 3) if takes_pixels else (3, 8, 8))
        assert images.dtype == ("uint8" if takes_pixels else "float32")
        with self._lock:
            self.batch_sizes.append(len(images))
            self._calls_at_once += 1
            self.most_calls_at_once = max(self.most_calls_at_once, self._calls_at_once)
        grey = np.float32(1 if takes_pixels else 255) * images.mean(axis=(1, 2, 3))
        centres = 16 * np.arange(CLASS_COUNT, dtype=np.float32)
        logits: Logits = -np.abs(grey[:, None] - centres)  # (N, 16)
        with self._lock:
            self._calls_at_once -= 1
        return logits


@pytest.fixture(scope="session")
def make_session() -> Callable[..., MeanSession]:
    return MeanSession


@pytest.fixture(scope="session")
def small_record(se_resnext50: ModelRecord) -> ModelRecord:
    """8x8 pixels, 16 classes, values from 0 to 1."""
    replace = msgspec.structs.replace
    return replace(
        se_resnext50,
        input=replace(se_resnext50.input, height=8, width=8),
        preprocessing=replace(
            se_resnext50.preprocessing, resize_side=8, crop_size=8, mean=(0, 0, 0), std=(1, 1, 1)
        ),
        output=replace(se_resnext50.output, class_count=CLASS_COUNT),
    )


@pytest.fixture(scope="session")
def make_source() -> MakeSource:
    """Return a function that makes a labelled image of one grey value; None makes a file that is no image.

    `on_read` is called when the image is read.
    """

    def make(
        name: str, grey: int | None, label: int | None = 0, on_read: Callable[[], None] = lambda: None
    ) -> LabelledImage:
        buffer = io.BytesIO()
        if grey is not None:
            Image.new("L", (9, 8), grey).save(buffer, "PNG")
        encoded = buffer.getvalue() or b"no image"

        def read_bytes() -> bytes:
            on_read()
            return encoded

        return LabelledImage(relative_path=name, label=label, size_bytes=len(encoded), read_bytes=read_bytes)

    return make
