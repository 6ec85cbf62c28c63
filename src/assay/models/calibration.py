"""How a model was quantised: a record beside its ONNX file, carried on by what is compiled of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from assay.errors import BadModelError, shorten
from assay.files import decode_json

WeightRange = Literal["half", "full"]
"""How much of int8 the weights fill: -64 to 64, whose sums fit 16 bits on every processor, or -127 to 127."""


class CalibrationImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image that a model was calibrated on."""

    relative_path: str
    size_bytes: int
    sha256: str


class CalibrationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How an int8 ONNX file was made of a float one; `float_layers` are those that quantisation left.

    `unusable` names the images that were chosen too, but could not be decoded, each with its reason; others
    were taken for them. `weight_range` is empty in a record of an older assay, where all layers but the first
    fill the full range.
    """

    schema_version: int = 1
    source_sha256: str
    sha256: str
    tool: str
    preset: str
    weight_range: WeightRange | Literal[""] = ""
    seed: int
    float_layers: tuple[str, ...]
    images: tuple[CalibrationImage, ...]
    unusable: tuple[str, ...] = ()


def name_calibration_file(onnx_path: Path) -> Path:
    """Return the path of the calibration record of an ONNX file: the same name, ending in `.json`."""
    return onnx_path.with_suffix(".json")


def read_calibration(onnx_path: Path, sha256: str) -> CalibrationRecord | None:
    """Return the calibration record beside an ONNX file, or None where there is none of this very file.

    Args:
        onnx_path: The ONNX file.
        sha256: Its hash; a record of another file of that name is passed over.

    Raises:
        BadModelError: The record is there but cannot be read.
    """
    record = read_calibration_file(name_calibration_file(onnx_path))
    return record if record is not None and record.sha256 == sha256 else None


def read_calibration_file(path: Path) -> CalibrationRecord | None:
    """The calibration record in a file; None where there is no file, or some other JSON.

    Raises:
        BadModelError: It cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return decode_json(path.read_bytes(), kind=CalibrationRecord)
    except msgspec.ValidationError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BadModelError(
            f"calibration record {path} cannot be read: {shorten(error)}", hint="quantise the model again"
        ) from error
