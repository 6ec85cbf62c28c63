"""Notices a Pillow or libjpeg that computes other pixels than the ones that were verified."""

from __future__ import annotations

import hashlib
import io
import itertools
from importlib import resources

import numpy as np
import PIL
import simplejpeg
from PIL import Image, features

from assay.arrays import Picture
from assay.images.decode import decode_image
from assay.images.pixel_check import PixelCheck
from assay.images.resample import FASTEST
from assay.images.resize import resize_and_crop
from assay.models.preprocessing import Preprocessing, ResizeFilter

FILTERS: tuple[ResizeFilter, ...] = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
# sha256 of the pixels, to 16 digits: decoded, then resized by each filter. From Pillow 13.0.0 with
# libjpeg-turbo; the same installation reproduces the original preprocess script's output, bit for bit.
EXPECTED_SHA256 = {
    "420.jpeg": {
        "decoded": "5ecc40facd5a7f4d",
        "nearest": "90e45ce6bcdaa2cf",
        "box": "5a15d21e3a03218e",
        "bilinear": "9ade2a3670821445",
        "hamming": "9600c878bb220d60",
        "bicubic": "18fd1ea76c9ec886",
        "lanczos": "2eaff809170edcdf",
    },
    "422.jpeg": {
        "decoded": "30d2e4196fa1a0ed",
        "nearest": "1b8fc56d7da337d4",
        "box": "033482d0ccfb68ce",
        "bilinear": "da7b49b9c6d9a7a5",
        "hamming": "fe91d95fa46bd057",
        "bicubic": "87b60add11f439ea",
        "lanczos": "6f8a16e91ba31d48",
    },
    "444.jpeg": {
        "decoded": "322f77bcfce391e0",
        "nearest": "e48fcc309ef53e4e",
        "box": "3fbf9b6cb597caa5",
        "bilinear": "cea5974ce6dab427",
        "hamming": "0a5e372694533711",
        "bicubic": "e58777c026b09823",
        "lanczos": "dbdb3c977d6935c6",
    },
    "grey.jpeg": {
        "decoded": "2832d8eb8d8f8759",
        "nearest": "813054883e8e04b9",
        "box": "10ed540bf274d27a",
        "bilinear": "3d8d77f52ceb4440",
        "hamming": "b91fb0d86f54e982",
        "bicubic": "04b2ed02ed4910ca",
        "lanczos": "ac092daa379dccc3",
    },
}


def check_pixels() -> PixelCheck:
    """Decode and resize the built-in JPEGs, and compare every pixel with what is expected."""
    turbo = features.version("libjpeg_turbo")
    return PixelCheck(
        pillow=PIL.__version__,
        pillow_jpeg=f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}",
        simplejpeg=simplejpeg.__version__,
        differing=tuple(itertools.chain.from_iterable(map(_name_differences, EXPECTED_SHA256))),
        resampler=FASTEST,
    )


def _name_differences(name: str) -> list[str]:
    """Name the ways to make pixels of the built-in JPEG that gave others than expected."""
    encoded = resources.files("assay.images").joinpath("self_test", name).read_bytes()
    expected = EXPECTED_SHA256[name]
    with Image.open(io.BytesIO(encoded)) as picture:
        by_pillow = np.asarray(picture.convert("RGB"))  # (height, width, 3)
    by_assay = decode_image(encoded).pixels  # (height, width, 3)
    checks = [
        ("decoded by Pillow", by_pillow, expected["decoded"]),
        ("decoded by simplejpeg", by_assay, expected["decoded"]),
    ]
    for resize_filter in FILTERS:
        resized = resize_and_crop(by_assay, _resize_by(resize_filter))
        checks.append((f"resized, {resize_filter}", resized, expected[resize_filter]))
    return [f"{name} {how}" for how, pixels, sha256 in checks if _hash(pixels) != sha256]


def _resize_by(resize_filter: ResizeFilter) -> Preprocessing:
    return Preprocessing(
        resize_side=37, resize_filter=resize_filter, crop_size=32, mean=(0, 0, 0), std=(1, 1, 1)
    )


def _hash(pixels: Picture) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]
