"""A model record: one TOML file with every fact about one set of weights, read and checked."""

from __future__ import annotations

import difflib
import math
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from assay.errors import BadModelError, quote, shorten

ONNX_ONLY = "onnx only"
Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
# How far the values of a normalised image can lie apart. Known networks: 1 (only / 255) to 5, or 255 (raw).
_SMALLEST_SPAN, _USUAL_SPAN, _LARGEST_SPAN = 0.05, 0.5, 400
ThreeChannels = Annotated[tuple[float, ...], Meta(min_length=3, max_length=3)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that nobody reads is an error."""


class WeightsFile(_Record, frozen=True, kw_only=True):
    """One published file with the weights, and where it can be downloaded."""

    url: str
    file_name: str
    sha256_prefix: Annotated[str, Meta(pattern="^[0-9a-f]{8,64}$")]
    size_bytes: Positive | None = None
    licence: str


class InputTensor(_Record, frozen=True, kw_only=True):
    """The network's input: float32 (N, channels, height, width)."""

    name: str
    channels: Literal[3]
    height: Positive
    width: Positive
    colour_order: Literal["RGB", "BGR"]


class Preprocessing(_Record, frozen=True, kw_only=True):
    """From decoded pixels to the network's input.

    The short side becomes `resize_side` (the long side is cut to a whole number), the centre
    `crop_size` square is kept, and every value becomes (value / pixel_scale - mean) / std in float32.
    """

    resize_side: Positive
    resize_filter: Literal["bilinear", "bicubic"]
    crop_size: Positive
    crop_rounding: Literal["modelzoo", "torchvision"] = "modelzoo"
    pixel_scale: Annotated[float, Meta(gt=0)] = 255.0
    mean: ThreeChannels
    std: ThreeChannels

    def __post_init__(self) -> None:
        """Refuse constants that no network can have been trained with.

        Raises:
            ValueError: A mean outside the range of pixel / pixel_scale, a std that is not above 0, or
                images whose values would span next to nothing, or far more than those of raw pixels.
        """
        numbers = (*self.mean, *self.std, self.pixel_scale)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("preprocessing: a number is infinite or not a number")
        if min(self.std) <= 0:
            raise ValueError("preprocessing.std holds a number that is not above 0")
        largest = 255 / self.pixel_scale
        fit = f"pixel / pixel_scale is 0 to {largest:g} (pixel_scale = {self.pixel_scale:g})"
        hint = "give mean and std in that unit, or the pixel_scale that they are for: 255 or 1"
        if not all(0 <= mean <= largest for mean in self.mean):
            msg = f"preprocessing.mean is {list(self.mean)}, but {fit}; {hint}"
            raise ValueError(msg)
        spans = [largest / std for std in self.std]
        if min(spans) < _SMALLEST_SPAN or max(spans) > _LARGEST_SPAN:
            found = "next to nothing" if min(spans) < _SMALLEST_SPAN else f"{max(spans):.0f}"
            msg = f"preprocessing.std is {list(self.std)}, but {fit}: images would span {found}; {hint}"
            raise ValueError(msg)

    def list_oddities(self) -> list[str]:
        """What is possible but seldom meant, in words; mostly nothing."""
        largest = 255 / self.pixel_scale
        spans = [largest / std for std in self.std]
        if min(spans) < _USUAL_SPAN:
            return [f"images span {min(spans):.2g} only; most networks take a span of 1 to 5, or of 255"]
        if 0 < max(self.mean) < largest / 100:
            return [f"preprocessing.mean is at most {max(self.mean):g}, of values of 0 to {largest:g}"]
        return []


class OutputTensor(_Record, frozen=True, kw_only=True):
    """The network's output: float32 logits (N, class_count).

    `label_offset` is the logit of label 0: 1 for networks whose first class is a background class.
    """

    name: str
    class_count: Annotated[int, Meta(ge=2)]
    label_offset: Annotated[int, Meta(ge=0)] = 0


class PublishedAccuracy(_Record, frozen=True, kw_only=True):
    """An accuracy on the 50,000 ImageNet validation images as somebody else published it."""

    source: str
    setting: str = ""
    top1_percent: Percent
    top5_percent: Percent


class PublishedThroughput(_Record, frozen=True, kw_only=True):
    """Images per second by batch size, as somebody else published them for one device."""

    device: str
    source: str
    clock: Literal["device", "call", "pipeline"]
    images_per_second: Annotated[dict[Positive, Rate], Meta(min_length=1)]


class SpeedTarget(_Record, frozen=True, kw_only=True):
    """How many times as fast as `over` a device was asked to be, each at its best batch, and by whom."""

    device: str
    over: str
    ratio: Rate
    source: str


class ModelRecord(_Record, frozen=True, kw_only=True):
    """All that is known of one set of weights; see `docs/reference/model-record.md`."""

    schema_version: Literal[1]
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.+-]*$")]
    architecture: str
    input: InputTensor
    preprocessing: Preprocessing
    output: OutputTensor
    weights: tuple[WeightsFile, ...] = ()
    published_accuracy: tuple[PublishedAccuracy, ...] = ()
    published_throughput: tuple[PublishedThroughput, ...] = ()
    speed_target: tuple[SpeedTarget, ...] = ()

    def __post_init__(self) -> None:
        """Refuse facts that contradict one another.

        Raises:
            ValueError: Sizes, class count or divisors do not fit together.
        """
        crop = self.preprocessing.crop_size
        if (self.input.height, self.input.width) != (crop, crop):
            found = f"{self.input.height}x{self.input.width}"
            msg = f"input is {found}, but preprocessing.crop_size makes {crop}x{crop}"
            raise ValueError(msg)
        if crop > self.preprocessing.resize_side:
            raise ValueError("preprocessing.crop_size is larger than preprocessing.resize_side")
        rates = (rate for column in self.published_throughput for rate in column.images_per_second.values())
        if not all(map(math.isfinite, rates)):
            raise ValueError("published_throughput: a number is infinite or not a number")
        devices = {column.device for column in self.published_throughput}
        if unknown := {name for one in self.speed_target for name in (one.device, one.over)} - devices:
            raise ValueError(
                f"speed_target names {quote(sorted(unknown)[0])}, which has no published_throughput"
            )
        if self.output.label_offset >= self.output.class_count:
            raise ValueError("output.label_offset is not below output.class_count")

    @property
    def label_count(self) -> int:
        """Number of labels an image can have: the classes without the offset ones."""
        return self.output.class_count - self.output.label_offset


def list_model_names() -> list[str]:
    """Return the names of the records that come with assay, sorted."""
    folder = resources.files("assay.models")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_model_record(name_or_path: str) -> ModelRecord:
    """Return the model record of that name, or the one in that TOML file.

    Args:
        name_or_path: The name of a record that comes with assay, or the path of a `.toml` file.

    Raises:
        BadModelError: No such record or file, not TOML, or a key that is missing, unknown or wrong.
    """
    if not name_or_path.endswith(".toml"):
        return _parse_record(_read_own_record(name_or_path), origin=name_or_path)
    try:
        text = Path(name_or_path).read_bytes()
    except OSError as error:
        raise BadModelError(
            f"model record {name_or_path}: cannot be read: {error.strerror}",
            hint=f"expected the path of a TOML file, or one of: {', '.join(list_model_names())}",
        ) from error
    return _parse_record(text, origin=name_or_path)


def _read_own_record(name: str) -> bytes:
    names = list_model_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        raise BadModelError(
            f"no model record is called {quote(name)}",
            hint=f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}, or a .toml file",
        )
    return resources.files("assay.models").joinpath(f"{name}.toml").read_bytes()


def _parse_record(text: bytes, *, origin: str) -> ModelRecord:
    try:
        return msgspec.toml.decode(text, type=ModelRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadModelError(
            f"model record {origin}: {shorten(error)}", hint="the keys are in docs/reference/model-record.md"
        ) from error
