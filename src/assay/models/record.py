"""A model record: every fact about one set of weights, checked against one another."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from assay.errors import quote
from assay.models.preprocessing import Positive, Preprocessing

ONNX_ONLY = "onnx only"
InputDtype = Literal["float32", "float16", "uint8"]
ScoreKind = Literal["logits", "probabilities", "sigmoid"]
Rate = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
_NAME = r"^[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*([:@]\w+)?$"  # resnet50, timm/resnet50.a1_in1k@288


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
    """The network's own input; assay's images are float32 (N, channels, height, width) until there.

    `dtype` "uint8" takes pixels of 0 to 255, which the network normalises itself.
    """

    name: str
    channels: Literal[1, 3]
    height: Positive
    width: Positive
    colour_order: Literal["RGB", "BGR", "grey"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: InputDtype = "float32"

    def __post_init__(self) -> None:
        """Refuse a colour order that does not fit the channels.

        Raises:
            ValueError: One channel that is not grey, or three that are.
        """
        if (self.channels == 1) != (self.colour_order == "grey"):
            msg = f"input.colour_order is {self.colour_order!r}, but input.channels is {self.channels}"
            raise ValueError(msg)


class OutputTensor(_Record, frozen=True, kw_only=True):
    """The network's output: a row of scores for each image, (N, class_count), with or without axes of 1.

    `label_offset` is the score of label 0: 1 for networks whose first class is a background class.
    `class_names` and `class_synsets` name the labels, in order, without the offset ones. Where neither is
    given and there are 1000 labels, they are ImageNet's.
    """

    name: str
    class_count: Annotated[int, Meta(ge=2)]
    label_offset: Annotated[int, Meta(ge=0)] = 0
    scores: ScoreKind = "logits"
    class_names: tuple[str, ...] = ()
    class_synsets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse facts that contradict one another.

        Raises:
            ValueError: The offset is not below the class count, or lists of classes have another length or
                name one twice.
        """
        if self.label_offset >= self.class_count:
            raise ValueError("output.label_offset is not below output.class_count")
        label_count = self.class_count - self.label_offset
        for key, names in (("class_names", self.class_names), ("class_synsets", self.class_synsets)):
            if names and len(names) != label_count:
                msg = f"output.{key} holds {len(names):,} entries, but there are {label_count:,} labels"
                raise ValueError(msg)
        if len(set(self.class_synsets)) != len(self.class_synsets):
            raise ValueError("output.class_synsets names a synset twice")


class PublishedAccuracy(_Record, frozen=True, kw_only=True):
    """An accuracy on the 50,000 ImageNet validation images as somebody else published it.

    `top5_percent` is None where Top-1 alone is published; `doubt` says why it cannot be right as it stands.
    """

    source: str
    setting: str = ""
    top1_percent: Percent
    top5_percent: Percent | None = None
    doubt: str = ""


class PublishedThroughput(_Record, frozen=True, kw_only=True):
    """Images per second by batch size, as somebody else published them for one device.

    `doubt` says why they cannot be right as they stand.
    """

    device: str
    source: str
    clock: Literal["device", "call", "pipeline"]
    images_per_second: Annotated[dict[Positive, Rate], Meta(min_length=1)]
    doubt: str = ""


class SpeedTarget(_Record, frozen=True, kw_only=True):
    """How many times as fast as `over` a device was asked to be, each at its best batch, and by whom."""

    device: str
    over: str
    ratio: Rate
    source: str


class ModelRecord(_Record, frozen=True, kw_only=True):
    """All that is known of one set of weights; see `docs/reference/model-record.md`."""

    schema_version: Literal[1]
    name: Annotated[str, Meta(pattern=_NAME)]
    architecture: str
    architecture_options: dict[str, Any] = {}  # msgspec copies it
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
        shape = self.preprocessing.find_output_shape()
        if (self.input.height, self.input.width) != shape:
            found = f"{self.input.height}x{self.input.width}"
            made = f"{shape[0]}x{shape[1]}" if shape else "pictures of any size: crop_size is missing"
            msg = f"input is {found}, but preprocessing makes {made}"
            raise ValueError(msg)
        if len(self.preprocessing.mean) != self.input.channels:
            count = len(self.preprocessing.mean)
            msg = f"preprocessing.mean is of {count} channels, input.channels is {self.input.channels}"
            raise ValueError(msg)
        if self.input.dtype == "uint8" and not self._keeps_pixels():
            raise ValueError("input.dtype is uint8: set pixel_scale = 1, mean of 0 and std of 1")
        if self.input.dtype == "uint8" and not self.preprocessing.makes_pixels:
            found = f"sampling = {self.preprocessing.sampling!r}"
            raise ValueError(f"input.dtype is uint8, but {found} makes fractions of pixels")
        rates = (rate for column in self.published_throughput for rate in column.images_per_second.values())
        if not all(map(math.isfinite, rates)):
            raise ValueError("published_throughput: a number is infinite or not a number")
        devices = {column.device for column in self.published_throughput}
        if unknown := {name for one in self.speed_target for name in (one.device, one.over)} - devices:
            raise ValueError(
                f"speed_target names {quote(sorted(unknown)[0])}, which has no published_throughput"
            )

    def _keeps_pixels(self) -> bool:
        """Whether the values stay 0 to 255."""
        made = self.preprocessing
        return made.pixel_scale == 1 and not any(made.mean) and set(made.std) == {1.0}

    @property
    def label_count(self) -> int:
        """Number of labels an image can have: the classes without the offset ones."""
        return self.output.class_count - self.output.label_offset
