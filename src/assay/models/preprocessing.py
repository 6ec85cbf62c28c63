"""From decoded pixels to the network's input, as data: resize, crop, padding, arithmetic of the values."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Byte = Annotated[int, Meta(ge=0, le=255)]
HeightWidth = tuple[Positive, Positive]
Resize = Literal["short side", "cover", "letterbox", "squash", "none"]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "area"]
Sampling = Literal["pillow", "opencv", "tensorflow", "tensorflow 1"]
CropRounding = Literal["modelzoo", "torchvision", "ceil", "halves"]
Arithmetic = Literal["divide", "multiply", "fused"]
Channels = Annotated[tuple[float, ...], Meta(min_length=1, max_length=3)]
# How far the values of a normalised image can lie apart. Known networks: 1 (only / 255) to 5, or 255 (raw).
_SMALLEST_SPAN, _USUAL_SPAN, _LARGEST_SPAN = 0.05, 0.5, 400


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From decoded pixels to the network's input, in this order; see `docs/reference/model-record.md`.

    Args:
        central_fraction: Of the picture's height and width, what is kept before it is resized (TF-slim).
        square_first: Whether the largest centre square is kept before it is resized (ultralytics 8.0).
        resize: "short side": the short side becomes `resize_side`. "cover": as large as it must be to cover
            `resize_size`. "letterbox": as large as it can be within it. "squash": just that size. "none".
        resize_side: Of "short side", in pixels.
        resize_size: (height, width) of "cover", "letterbox" and "squash", in pixels.
        long_side_rounding: How the other side becomes whole: "cut", or "half to even".
        resize_filter: Of Pillow, or "area" of OpenCV; None where nothing is resized.
        sampling: Whose arithmetic: Pillow's, which is antialiased, or OpenCV's or TensorFlow's without.
        crop_size: Side of the centre square that is kept, in pixels.
        crop_shape: (height, width) of the centre that is kept, where it is no square. Neither keeps all.
        crop_rounding: How the crop's start becomes whole: cut ("modelzoo"), half to even ("torchvision"),
            "ceil", or the difference of the halves, each cut ("halves").
        pad_colour: RGB, around a picture that is smaller than the crop. Without it none may be.
        pad_rounding: Of the padding at the left and top.
        pixel_scale: What pixels are divided by.
        mean: For each channel, in the order of the network's channels.
        std: For each channel, likewise.
        arithmetic: "divide": value / pixel_scale, - mean, / std. "multiply": the first by its reciprocal in
            float32. "fused": (value - pixel_scale * mean) / (pixel_scale * std). They differ in last bits.
        std_twice: Whether the values are divided by std once more (EfficientNet of Keras and Hugging Face).
    """

    central_fraction: Annotated[float, Meta(gt=0, le=1)] = 1.0
    square_first: bool = False
    resize: Resize = "short side"
    resize_side: Positive | None = None
    resize_size: HeightWidth | None = None
    long_side_rounding: Literal["cut", "half to even"] = "cut"
    resize_filter: ResizeFilter | None = None
    sampling: Sampling = "pillow"
    crop_size: Positive | None = None  # apart from crop_shape: msgspec 0.22 crashes on the union of both
    crop_shape: HeightWidth | None = None
    crop_rounding: CropRounding = "modelzoo"
    pad_colour: tuple[Byte, Byte, Byte] | None = None
    pad_rounding: Literal["floor", "ceil"] = "floor"
    pixel_scale: Annotated[float, Meta(gt=0)] = 255.0
    mean: Channels
    std: Channels
    arithmetic: Arithmetic = "divide"
    std_twice: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, and constants that no network can have been trained with.

        Raises:
            ValueError: A size that is missing or has no meaning here, a mean outside the range of
                pixel / pixel_scale, a std that is not above 0, or images whose values would span next to
                nothing, or far more than those of raw pixels.
        """
        self._check_geometry()
        self._check_sampling()
        self._check_constants()

    @property
    def crop(self) -> HeightWidth | None:
        """(height, width) of the centre that is kept; None where nothing is cropped."""
        return self.crop_shape if self.crop_size is None else (self.crop_size, self.crop_size)

    @property
    def makes_pixels(self) -> bool:
        """Whether what is normalised is pixels, uint8: TensorFlow's sampling makes fractions of them."""
        return not self.sampling.startswith("tensorflow") or self.resize_filter in (None, "nearest")

    def find_output_shape(self) -> HeightWidth | None:
        """(height, width) of every picture afterwards; None where that depends on the picture."""
        return self.crop or (self.resize_size if self.resize == "squash" else None)

    def list_oddities(self) -> list[str]:
        """What is possible but seldom meant, in words; mostly nothing."""
        largest = 255 / self.pixel_scale
        spans = self._find_spans()
        if min(spans) < _USUAL_SPAN:
            return [f"images span {min(spans):.2g} only; most networks take a span of 1 to 5, or of 255"]
        if 0 < max(self.mean) < largest / 100:
            return [f"preprocessing.mean is at most {max(self.mean):g}, of values of 0 to {largest:g}"]
        return []

    def _check_geometry(self) -> None:
        if self.resize == "short side" and self.resize_side is None:
            raise ValueError("preprocessing.resize_side is missing (resize = 'short side')")
        if self.resize != "short side" and self.resize_side is not None:
            raise ValueError(f"preprocessing.resize_side has no meaning where resize = {self.resize!r}")
        needs_size = self.resize in ("cover", "letterbox", "squash")
        if needs_size != (self.resize_size is not None):
            found = "is missing" if needs_size else "has no meaning"
            raise ValueError(f"preprocessing.resize_size {found} where resize = {self.resize!r}")
        if (self.resize_filter is None) != (self.resize == "none"):
            found = "is missing" if self.resize_filter is None else "has no meaning"
            raise ValueError(f"preprocessing.resize_filter {found} where resize = {self.resize!r}")
        if self.crop_size is not None and self.crop_shape is not None:
            raise ValueError("preprocessing has both crop_size, of a square, and crop_shape")
        if self.crop and self._can_be_smaller(self.crop) and self.pad_colour is None:
            raise ValueError(
                "preprocessing.crop_size can be larger than the resized picture: set pad_colour, RGB of what "
                "is put around it, or correct the sizes"
            )

    def _check_sampling(self) -> None:
        if (self.resize_filter == "area") > (self.sampling == "opencv"):
            raise ValueError("preprocessing.resize_filter = 'area' is OpenCV's: set sampling = 'opencv'")
        if self.sampling != "pillow" and self.resize_filter in ("box", "hamming", "lanczos"):
            raise ValueError(f"preprocessing.resize_filter = {self.resize_filter!r} is Pillow's alone here")
        if self.sampling != "pillow" and self.resize == "none":
            raise ValueError(
                f"preprocessing.sampling = {self.sampling!r} has no meaning where resize = 'none'"
            )

    def _can_be_smaller(self, crop: HeightWidth) -> bool:
        """Whether a resized picture can be smaller than the crop."""
        if self.resize_side is not None:
            return max(crop) > self.resize_side
        if self.resize_size is not None and self.resize != "letterbox":
            return crop[0] > self.resize_size[0] or crop[1] > self.resize_size[1]
        return True

    def _find_spans(self) -> list[float]:
        """How far the values of each channel can lie apart."""
        largest = 255 / self.pixel_scale
        return [largest / (std * std if self.std_twice else std) for std in self.std]

    def _check_constants(self) -> None:
        numbers = (*self.mean, *self.std, self.pixel_scale)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("preprocessing: a number is infinite or not a number")
        if len(self.mean) != len(self.std):
            raise ValueError(f"preprocessing has {len(self.mean)} means and {len(self.std)} stds")
        if min(self.std) <= 0:
            raise ValueError("preprocessing.std holds a number that is not above 0")
        largest = 255 / self.pixel_scale
        fit = f"pixel / pixel_scale is 0 to {largest:g} (pixel_scale = {self.pixel_scale:g})"
        hint = "give mean and std in that unit, or the pixel_scale that they are for: 255 or 1"
        if not all(0 <= mean <= largest for mean in self.mean):
            msg = f"preprocessing.mean is {list(self.mean)}, but {fit}; {hint}"
            raise ValueError(msg)
        spans = self._find_spans()
        if min(spans) < _SMALLEST_SPAN or max(spans) > _LARGEST_SPAN:
            found = "next to nothing" if min(spans) < _SMALLEST_SPAN else f"{max(spans):.0f}"
            msg = f"preprocessing.std is {list(self.std)}, but {fit}: images would span {found}; {hint}"
            raise ValueError(msg)


def compute_crop_start(length: int, crop_size: int, crop_rounding: str) -> int:
    """Compute where the centre crop begins: `length` is at least `crop_size`.

    Cut (`modelzoo`), rounded half to even (`torchvision`), up (`ceil`), or the difference of cut `halves`.

    >>> [compute_crop_start(383, 224, rounding) for rounding in ("modelzoo", "torchvision", "ceil", "halves")]
    [79, 80, 80, 79]
    """
    margin = (length - crop_size) / 2
    if crop_rounding == "torchvision":
        return round(margin)
    if crop_rounding == "halves":
        return length // 2 - crop_size // 2
    return math.ceil(margin) if crop_rounding == "ceil" else int(margin)
