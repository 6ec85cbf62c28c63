from __future__ import annotations

import pytest

from assay.images.check_pixels import EXPECTED_SHA256, FILTERS, check_pixels
from assay.images.resample import list_resamplers


def test_pillow_and_simplejpeg_compute_the_verified_pixels_here() -> None:
    # The same installation reproduces golden/prep_bin.sha256; see test_normalise.py.
    assert check_pixels().differing == ()


def test_the_check_covers_grey_and_the_common_subsamplings() -> None:
    assert sorted(EXPECTED_SHA256) == ["420.jpeg", "422.jpeg", "444.jpeg", "grey.jpeg"]


@pytest.mark.parametrize(
    ("step", "differing"),
    [
        ("decoded", ("422.jpeg decoded by Pillow", "422.jpeg decoded by simplejpeg")),
        *((name, (f"422.jpeg resized, {name}",)) for name in FILTERS),
    ],
)
def test_other_pixels_are_named(
    step: str, differing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = EXPECTED_SHA256["422.jpeg"] | {step: "0" * 16}
    monkeypatch.setitem(EXPECTED_SHA256, "422.jpeg", hashes)
    assert check_pixels().differing == differing


def test_the_libraries_are_named_with_their_versions() -> None:
    check = check_pixels()
    assert check.pillow_jpeg.startswith("libjpeg")
    assert all(any(map(str.isdigit, text)) for text in (check.pillow, check.pillow_jpeg, check.simplejpeg))


def test_what_resizes_is_named() -> None:
    assert check_pixels().resampler == list_resamplers()[0]
