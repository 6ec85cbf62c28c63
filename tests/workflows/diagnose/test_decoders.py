from __future__ import annotations

import io

import numpy as np
from PIL import Image

from assay.arrays import Images, Logits
from assay.diagnose.view import Photograph, View
from assay.workflows.diagnose.decoders import try_decoders
from pattern_network import RECORD

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def take_photograph(name: str, kind: str, **options: int) -> Photograph:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    is_jpeg = kind == "JPEG"
    return Photograph(name=name, stored=file.getvalue(), jpeg=file.getvalue() if is_jpeg else b"")


def test_what_hangs_on_the_upsampling_of_colours_is_named_and_what_is_no_jpeg_left_out() -> None:
    """The network says 1 where the images are not the first ones it saw, to the last bit."""
    seen: list[Images] = []

    def predict(images: Images) -> Logits:
        seen.append(images)
        is_other = np.abs(images - seen[0]).max(axis=(1, 2, 3)) > 0.2
        return np.stack([~is_other, is_other], axis=1).astype(np.float32)

    photographs = [
        take_photograph("half.jpg", "JPEG", quality=95, subsampling=2),
        take_photograph("whole.jpg", "JPEG", quality=95, subsampling=0),
        take_photograph("none.png", "PNG"),
    ]
    fast, plain, both = try_decoders(photographs, View(record=RECORD), predict)
    assert (fast.image_count, fast.flipped) == (2, ())
    assert plain.flipped == both.flipped == ("half.jpg",)
    assert try_decoders(photographs[2:], View(record=RECORD), predict) == ()
