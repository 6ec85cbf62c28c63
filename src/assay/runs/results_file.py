"""The JSON files of a run folder: their contents, written whole and read back checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from assay import __version__
from assay.convert.parity import LogitParity
from assay.engines.cascade.record import CascadeRecord
from assay.engines.engine import SessionDescription
from assay.errors import BadInputError, shorten
from assay.files import SCHEMA_VERSION, decode_json, encode_json, write_file
from assay.images.class_subsets import ClassSubset
from assay.images.listing import LabelKind
from assay.images.pixel_check import PixelCheck
from assay.inference.identity import RunIdentity
from assay.inference.predictions import AnsweredBy
from assay.measure.accuracy.accuracy import Accuracy, ClassAccuracy, RealAccuracy, SubsetAccuracy
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.answers import BatchAccuracy
from assay.measure.accuracy.calibration_error import CalibrationError
from assay.measure.accuracy.cascade import CascadePart
from assay.measure.early_gates import EarlyStop
from assay.measure.environment import Machine
from assay.measure.gates import GateResult
from assay.measure.speed.imported_results import ImportedRow
from assay.measure.speed.loadgen_logs import LoadgenRow
from assay.measure.speed.loading import LoadCost
from assay.measure.speed.pipeline_speed import PipelineSpeed
from assay.measure.speed.recommendation import Recommendation
from assay.measure.speed.several_devices import SeveralDevicesRow
from assay.measure.speed.throughput import PipelineRow, ThroughputRow
from assay.models.calibration import CalibrationRecord
from assay.models.record import ModelRecord


class _Versioned(msgspec.Struct, frozen=True):
    schema_version: int


class ImageSet(msgspec.Struct, frozen=True, kw_only=True):
    """The images of a run: where, in which form, how many, and a sha256 of their paths, labels and sizes.

    `val_image_count` is how many have the name of an ImageNet validation image. `limited_from` is how many
    images there were before `--limit` cut them. `notes` says what was odd. `label_kind` says by a value what
    `label_source` says in words; None in the manifest of an older assay. `class_names` and `class_synsets`
    are those of the labels in order, where the images or `--classes` name them and the model record does not.
    `class_subset` holds the classes among which the images are scored besides.
    """

    path: str
    form: str
    label_source: str
    label_kind: LabelKind | None = None
    class_names: tuple[str, ...] = ()
    class_synsets: tuple[str, ...] = ()
    class_subset: ClassSubset | None = None
    image_count: Annotated[int, Meta(ge=1)]
    ignored_count: int
    unlabelled_count: int
    val_image_count: int = 0
    limited_from: int | None = None
    calibrated_count: int = 0
    sha256: str
    notes: tuple[str, ...] = ()


class DeviceUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one of several devices did in a run: the images it computed, and why it was given no more."""

    image_count: int
    failure: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`: what was run, on what, with what; written first, completed at the end.

    `model_sources` says where each line of a model record comes from that was drawn from the file itself.
    `weights_key` is where in the checkpoint the weights were, "" for its top level; None without one.
    `failed_shards` holds the cause by the file name of the shard that a session died in, or whose images
    could not be read. `pipelines` says by predictor how fast it went from encoded images to predictions.
    `cascade` says how the model is made of two, `devices` what each of several did; other runs have no such
    keys.
    `metrics_sha256` is of `metrics.json` as the run wrote it, `predictions_sha256` of the sha256 of each
    shard behind it; empty where an older assay did, or shares.
    """

    schema_version: int = SCHEMA_VERSION
    status: Literal["running", "finished", "failed", "interrupted"]
    assay_version: str = __version__
    arguments: tuple[str, ...]
    supplied: tuple[str, ...] = ()
    started: str
    finished: str = ""
    error: str = ""
    machine: Machine
    pixel_check: PixelCheck
    model: ModelRecord | None = None
    model_sources: tuple[str, ...] = ()
    hashes: dict[str, str] = {}
    weights_key: str | None = None
    opset: int | None = None
    logit_parity: LogitParity | None = None
    engine: str = ""
    engine_version: str = ""
    device: str = ""
    precision: str = ""
    compiled_batch_size: int | None = None
    evaluated_batch_size: int | None = None
    image_set: ImageSet | None = None
    identity: RunIdentity | None = None
    failed_shards: dict[str, str] = {}
    sessions: dict[str, SessionDescription] = {}
    pipelines: dict[str, PipelineSpeed] = {}
    calibration: CalibrationRecord | None = None
    gates: list[GateResult] = []
    early_stop: EarlyStop | None = None
    remark: str = ""
    cascade: CascadeRecord | msgspec.UnsetType = msgspec.UNSET
    devices: dict[str, DeviceUse] | msgspec.UnsetType = msgspec.UNSET
    metrics_sha256: str = ""
    predictions_sha256: str = ""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics.json`: how accurate; `real` by ReaL labels, where they were given.

    `subset` is among the classes of a set such as ImageNet-A alone, where the images are of such.

    `limited_from` is how many images there were before `--limit` cut them, `stopped_from` how many the run
    had before `--stop-when-certain` cut it.
    `calibration_error` is None in the file of an older assay. `batches` is what `--accuracy-batch` asked for:
    the first is what all else here is of, the others say whether their answers are the same.
    Of a cascade, `answered_by` counts the images that each of its models answered, and `cascade` says how
    accurate each is alone, where all were run; the metrics of other models have no such keys.
    """

    schema_version: int = SCHEMA_VERSION
    accuracy: Accuracy
    subset: SubsetAccuracy | None = None
    limited_from: int | None = None
    stopped_from: int | None = None
    real: RealAccuracy | None = None
    agreement: Agreement | None = None
    calibration_error: CalibrationError | None = None
    batches: tuple[BatchAccuracy, ...] = ()
    per_class: list[ClassAccuracy]
    answered_by: dict[AnsweredBy, int] | msgspec.UnsetType = msgspec.UNSET
    cascade: list[CascadePart] | msgspec.UnsetType = msgspec.UNSET


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """`benchmark.json`: how fast; `loadgen` and `loadgen_accuracy` by MLPerf LoadGen, where it was run.

    `loading` is what each model cost to load, in every process that loaded it. `imported` is what files of
    other tools say; imported results of LoadGen stand in `loadgen`. `pipelines` is from encoded images to
    predictions, with `--pipeline`. `devices` is of several devices at once, with `--devices`; `rows` are then
    of each alone.
    """

    schema_version: int = SCHEMA_VERSION
    rows: list[ThroughputRow]
    loadgen: list[LoadgenRow] = []
    loadgen_accuracy: Accuracy | None = None
    loading: list[LoadCost] = []
    recommended: list[Recommendation] = []
    imported: list[ImportedRow] = []
    pipelines: list[PipelineRow] = []
    devices: list[SeveralDevicesRow] = []


ResultFile = TypeVar("ResultFile", Manifest, Metrics, Benchmark)
FILE_NAMES: dict[type, str] = {
    Manifest: "manifest.json",
    Metrics: "metrics.json",
    Benchmark: "benchmark.json",
}


def write_result(run_folder: Path, result: Manifest | Metrics | Benchmark) -> Path:
    """Write a result into its file in the run folder, whole or not at all, and return the path."""
    path = run_folder / FILE_NAMES[type(result)]
    write_file(path, encode_json(result))
    return path


def read_result(run_folder: Path, kind: type[ResultFile]) -> ResultFile | None:
    """Return a run folder's result of that kind, or None where it has none.

    Raises:
        BadInputError: The file is there but cannot be read, or has another schema version.
    """
    path = run_folder / FILE_NAMES[kind]
    if not path.exists():
        return None
    try:
        text = path.read_bytes()
        version = decode_json(text, kind=_Versioned).schema_version
        if version == SCHEMA_VERSION:
            return decode_json(text, kind=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"{path} cannot be read: {shorten(error)}", hint="run it again with --overwrite"
        ) from error
    raise BadInputError(
        f"{path} has schema version {version}; this assay reads {SCHEMA_VERSION}",
        hint="read it with the assay that wrote it, or run it again",
    )


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What the JSON files of a run folder say, in whatever state the run is; None for a file it lacks."""

    path: Path
    manifest: Manifest
    metrics: Metrics | None
    benchmark: Benchmark | None


def read_run_files(path: Path) -> RunFiles:
    """The files of a run that may be unfinished, or measure speed alone.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    manifest = read_result(path, Manifest)
    if manifest is None:
        raise BadInputError(f"{path} holds no run: manifest.json is missing")
    return RunFiles(
        path=path,
        manifest=manifest,
        metrics=read_result(path, Metrics),
        benchmark=read_result(path, Benchmark),
    )
