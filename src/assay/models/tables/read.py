"""The rows of the published tables, each with the meaning of its cells."""

from __future__ import annotations

import csv
import functools
import gzip
from importlib import resources
from typing import Literal, TypeVar

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)
YesOrNothing = Literal["", "yes"]


class TimmModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pretrained configuration of timm, and its published result on the ImageNet validation images.

    Args:
        name: Architecture and tag, `resnet18.a1_in1k`; a few have no tag.
        default: "yes" for the one that timm takes where no tag is given.
        fixed_input_size: "yes" where the network takes images of no other size.
        custom_load: "yes" where its weights are in a form of their own.
        input_size: Channels, height and width, joined by "x".
        test_input_size: The size for evaluation where it is another one.
        crop_pct: Of the resized picture, what the crop keeps of each side.
        test_crop_pct: The same for evaluation, where it is another one.
        mean: Of each channel, joined by commas.
        std: Of each channel, likewise.
        num_classes: Scores of the network; 0 where it has no classifier.
        license: Of the weights, as timm states it.
        source: Repository on the Hugging Face hub, or the address of the weights.
        file: Within the source; mostly empty.
        top1_percent: Of timm's results-imagenet.csv; None where it has no row.
        measured_at: Height and width in pixels with which that was measured.
    """

    name: str
    default: YesOrNothing = ""
    fixed_input_size: YesOrNothing = ""
    custom_load: YesOrNothing = ""
    input_size: str
    test_input_size: str = ""
    crop_pct: float
    test_crop_pct: float | None = None
    crop_mode: Literal["center", "squash", "border"]
    interpolation: Literal["bilinear", "bicubic"]
    mean: str
    std: str
    num_classes: int
    label_offset: int
    license: str = ""
    source: str = ""
    file: str = ""
    top1_percent: float | None = None
    top5_percent: float | None = None
    measured_at: int | None = None
    measured_crop_pct: float | None = None
    measured_interpolation: str = ""


class TorchvisionWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of torchvision.

    Args:
        name: Of the model's builder, `resnet50`, or `quantized_resnet50`.
        weights: Of the enumeration and its entry, `ResNet50_Weights.IMAGENET1K_V2`.
        default: "default" for the entry that DEFAULT stands for.
        resize: The short side in pixels; `crop` is the side of the centre square.
        sha256_prefix: Of the file; empty where its name holds none.
        acc1: Published Top-1 in percent, on the ImageNet validation images; `acc5` likewise.
        params: Number of parameters.
        classes: None where no classes are named: the weights have no classifier that was trained.
        backend: Of a quantised network; empty elsewhere.
        min_size: Smallest input, height x width.
        file_mb: In MiB.
        unquantized: Of a quantised network: the weights that it was made from.
        license: Address of the weights' licence, where torchvision states one.
    """

    name: str
    weights: str
    default: Literal["", "default"] = ""
    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    antialias: Literal["True"]
    mean: str
    std: str
    file: str
    sha256_prefix: str = ""
    acc1: float | None = None
    acc5: float | None = None
    params: int
    classes: int | None = None
    backend: Literal["", "fbgemm", "qnnpack"] = ""
    min_size: str = ""
    gflops: float | None = None
    file_mb: float | None = None
    unquantized: str = ""
    url_folder: str
    license: str = ""


class AscendModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A classification folder of Ascend/ModelZoo-PyTorch, in the words of whoever read its scripts.

    Args:
        folder: Its path in the repository.
        published_accuracy: As its README has it; `published_images_per_s` likewise.
        accuracy: What is clear of that: `TOP1[/TOP5]|SETTING[|DOUBT]` in percent, joined by semicolons.
        rates: What is clear of that: `DEVICE|BATCH=RATE, BATCH=RATE[|DOUBT]`, joined by semicolons.
    """

    model: str
    folder: str
    dataset: str
    resize: str
    filter: str
    crop: str
    crop_rounding: str = ""
    colour_order: str = ""
    mean_std: str = ""
    normalised_in: str
    file: str
    onnx_input: str = ""
    onnx_output: str = ""
    input_shape: str = ""
    opset: int | None = None
    dynamic_batch: Literal["yes", "no"]
    published_accuracy: str = ""
    published_images_per_s: str = ""
    best: str = ""
    note: str = ""
    accuracy: str = ""
    rates: str = ""


class ClassSubsetRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A class of one of ImageNet's relatives; a class of ObjectNet can stand for several of ImageNet's.

    Args:
        subset: `imagenette`, `imagenet-a` and so on.
        folder_position: Place of the class among the folders, sorted by name; from 0.
        list_position: Place of the class in the subset's own list; from 0.
        imagenet1k_index: Label among ImageNet's 1000 classes.
    """

    subset: str
    folder_position: int
    list_position: int
    synset: str
    imagenet1k_index: int
    name: str
    source: str


@functools.cache
def read_timm_models() -> tuple[TimmModel, ...]:
    """Read timm's pretrained configurations, sorted by name.

    >>> len(read_timm_models())
    1826
    """
    return read_rows("timm_models", TimmModel)


@functools.cache
def read_torchvision_weights() -> tuple[TorchvisionWeights, ...]:
    """Read torchvision's weights, sorted by name of the builder.

    >>> len(read_torchvision_weights())
    129
    """
    return read_rows("torchvision_weights", TorchvisionWeights)


@functools.cache
def read_ascend_models() -> tuple[AscendModel, ...]:
    """Read the classification folders of Ascend/ModelZoo-PyTorch.

    >>> len(read_ascend_models())
    97
    """
    return read_rows("ascend_models", AscendModel)


@functools.cache
def read_class_subsets() -> tuple[ClassSubsetRow, ...]:
    """Read the classes of ImageNet's relatives, subset by subset.

    >>> len({row.subset for row in read_class_subsets()})
    10
    """
    return read_rows("class_subsets", ClassSubsetRow)


def read_rows(table: str, kind: type[Row]) -> tuple[Row, ...]:
    """Read a table of this folder as rows of that kind; a cell that is empty takes the kind's default."""
    content = resources.files("assay.models.tables").joinpath(f"{table}.tsv.gz").read_bytes()
    lines = gzip.decompress(content).decode("utf-8").splitlines()
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    filled = ({key: cell for key, cell in row.items() if cell} for row in rows)
    return tuple(msgspec.convert(row, kind, strict=False) for row in filled)
