from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assay.workflows.diagnose.traits import list_traits

COLOURS = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def find_traits(pixels: np.ndarray = COLOURS, kind: str = "JPEG", **options: Any) -> set[str]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        decoded = np.asarray(picture.convert("RGB"))
    return {name for name, has in list_traits(file.getvalue(), decoded).items() if has}


def test_a_large_colourful_photograph_of_high_quality_has_no_trait() -> None:
    assert find_traits(quality=95, subsampling=0) == set()


@pytest.mark.parametrize(
    ("made", "trait"),
    [
        ({"pixels": np.repeat(COLOURS[:, :, :1], 3, axis=2), "kind": "PNG"}, "greyscale"),
        ({"pixels": COLOURS[:200], "quality": 95}, "under 256 pixels high or wide"),
        ({"pixels": np.repeat(COLOURS, 2, axis=1), "quality": 95}, "more than 1.6 times as long as wide"),
        ({"pixels": COLOURS.swapaxes(0, 1), "quality": 95}, "higher than wide"),
        ({"kind": "PNG"}, "not JPEG"),
        ({"quality": 95, "subsampling": 2}, "colours at half the size (4:2:0)"),
        ({"quality": 60, "subsampling": 0}, "JPEG quality under 75"),
    ],
)
def test_a_trait_is_seen(made: dict[str, Any], trait: str) -> None:
    assert trait in find_traits(**made)


def test_pictures_turned_by_exif_are_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert "turned by EXIF" in find_traits(quality=95, exif=exif)


def test_the_boundary_of_quality_is_libjpegs() -> None:
    assert "JPEG quality under 75" in find_traits(quality=74)
    assert "JPEG quality under 75" not in find_traits(quality=76)
