"""The options of each command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal  # noqa: F401 - the groups' annotations are read here

from cyclopts import Parameter

from assay.command_line.flags import (
    EngineOptions,
    FolderOptions,
    GateOptions,
    ImageOptions,
    LabelFileOptions,
    ModelOptions,
    PredictionOptions,
    QuantizeSettings,
    ReadOptions,
    ShowOptions,
    SpeedOptions,
    StopOptions,
    make_help,
)
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.images.calibration import AccuracyControl
    from assay.runs.locks import Share
    from assay.workflows.cluster.ray_cluster import RayCluster


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions(
    ShowOptions,
    StopOptions,
    PredictionOptions,
    FolderOptions,
    QuantizeSettings,
    SpeedOptions,
    EngineOptions,
    ImageOptions,
):
    """Options of `assay run`."""

    weights: Annotated[Path, make_help("Checkpoint (.pth, .safetensors), or an ONNX file.")]
    opset: Annotated[int, make_help("Opset of the ONNX file, 11 to 18.")] = 18
    compare_with_torch: Annotated[bool, make_help("Let torch predict the same images, and compare.")] = False
    calibration: Annotated[
        Path | None, make_help("Images to calibrate int8 on; some of --images if not given.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DemoOptions(ShowOptions):
    """Options of `assay demo`."""

    output: Annotated[Path, make_help("Folder for the images, the weights and the run.", "-o")] = Path("demo")
    overwrite: Annotated[bool, make_help("Replace the demo in that folder.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportOptions(ShowOptions, ModelOptions):
    """Options of `assay export`."""

    opset: Annotated[int, make_help("Opset of the ONNX file, 11 to 18.")] = 18
    images: Annotated[Path | None, make_help("Compare with torch on these images, not on drawn ones.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class QuantizeOptions(ShowOptions, ModelOptions, QuantizeSettings, LabelFileOptions, ReadOptions):
    """Options of `assay quantize`."""

    calibration: Annotated[Path, make_help("Images to calibrate on: a folder, or any form --images takes.")]
    max_drop: Annotated[float | None, make_help("Points of Top-1 that may be lost; needs --images.")] = None
    images: Annotated[Path | None, make_help("Labelled images that the loss is measured on.")] = None
    labels: Annotated[Path | None, make_help("Their label file, if they need one.")] = None

    def choose_control(self) -> AccuracyControl | None:
        """Return how much may be lost, and on what; None where that does not matter.

        Raises:
            UsageError: Only one of --max-drop and --images.
        """
        from assay.images.calibration import AccuracyControl

        if (self.max_drop is None) != (self.images is None):
            raise UsageError("--max-drop and --images go together", hint="give both, or neither")
        if self.max_drop is None or self.images is None:
            return None
        labels = self.choose_labels(self.labels)
        return AccuracyControl(images=self.images, labels=labels, max_drop=self.max_drop)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EnginesOptions(ShowOptions):
    """Options of `assay engines`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompileOptions(ShowOptions, EngineOptions):
    """Options of `assay compile`."""

    batch_size: Annotated[int | None, make_help("Batches of exactly this size; any size if not given.")] = (
        None
    )
    overwrite: Annotated[bool, make_help("Replace the compiled model in that folder.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ShowOptions, StopOptions, PredictionOptions, FolderOptions, ImageOptions):
    """Options of `assay evaluate`."""

    batch_size: Annotated[int | None, make_help("Images in one call; 8, or what it was compiled for.")] = None
    real_labels: Annotated[Path | None, make_help("Score by ReaL labels too: real.json.")] = None
    shard: Annotated[str | None, make_help("Compute share I of N of the run, as I/N, beside others.")] = None
    ray: Annotated[
        tuple[str, ...] | None,
        Parameter(
            help="Compute on a Ray cluster: its ADDRESS, auto, or nothing for this machine.",
            consume_multiple=(0, 1),
        ),
    ] = None
    num_gpus: Annotated[float, make_help("With --ray: GPUs for each actor.")] = 0.0

    def choose_cluster(self, compiled_dir: Path) -> RayCluster | None:
        """Return the Ray cluster that computes the shards, or None where this process does.

        Raises:
            UsageError: --ray with --shard or --stop-when-certain, or --num-gpus without --ray or below 0.
        """
        if self.num_gpus < 0 or (self.num_gpus and self.ray is None):
            raise UsageError("--num-gpus goes with --ray, and is 0 or more")
        if self.ray is None:
            return None
        if self.shard is not None:
            raise UsageError("--ray and --shard exclude each other", hint="leave the sharing to Ray")
        if self.stop_when_certain:
            raise UsageError("--ray and --stop-when-certain exclude each other")
        from assay.workflows.cluster.ray_cluster import RayCluster

        return RayCluster(
            compiled_dir=compiled_dir, address=self.ray[0] if self.ray else "", gpu_count=self.num_gpus
        )

    def choose_share(self) -> Share | None:
        """Return which parts of the run are computed, or None for all.

        Raises:
            UsageError: Not I/N with I from 1 to N; or without a folder; or with --overwrite.
        """
        from assay.runs.locks import Share

        if self.shard is None:
            return None
        number, _, count = self.shard.partition("/")
        if not (_is_number(number) and _is_number(count) and 1 <= int(number) <= int(count)):
            raise UsageError(f"--shard {self.shard!r}: expected I/N with I from 1 to N, such as 2/4")
        if self.output is None or self.overwrite:
            raise UsageError("--shard needs the run folder, -o DIR, and excludes --overwrite")
        if self.stop_when_certain:
            raise UsageError("--shard and --stop-when-certain exclude each other")
        return Share(number=int(number), count=int(count))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DoctorOptions(ShowOptions, LabelFileOptions, ReadOptions):
    """Options of `assay doctor`."""

    images: Annotated[Path | None, make_help("Examine this copy of a data set; else this machine.")] = None
    labels: Annotated[Path | None, make_help("The label file that goes with it, if there is one.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FetchOptions(ShowOptions):
    """Options of `assay fetch`."""

    cache: Annotated[Path | None, make_help("Folder for the weights; the user's cache if none is given.")] = (
        None
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReportOptions(ShowOptions):
    """Options of `assay report`."""

    output: Annotated[
        Path | None, make_help("Folder for one report of several runs; ./report without it.", "-o")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompareOptions(ShowOptions, GateOptions):
    """Options of `assay compare`."""

    margin: Annotated[float, make_help("A loss of so many points of Top-1 does not matter.")] = 0.1


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BundleOptions(ShowOptions):
    """Options of `assay bundle`."""

    overwrite: Annotated[bool, make_help("Replace a file that is there.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class VerifyOptions(ShowOptions):
    """Options of `assay verify`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MergeOptions(ShowOptions):
    """Options of `assay merge`."""
