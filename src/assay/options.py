"""The options of the command line, in groups that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.images import listing as reading
    from assay.images.label_files import LabelOptions
    from assay.workflows.calibration import CalibrationOptions
    from assay.workflows.run_locks import Share


def _help(text: str, alias: str | None = None) -> Parameter:
    return Parameter(help=text, alias=alias)


def parse_batch_sizes(text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of a list such as `1,4,8`, or None for None.

    >>> parse_batch_sizes("1,4,8")
    (1, 4, 8)

    Raises:
        UsageError: Not a list of whole numbers from 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"--batch-size {text!r}: expected whole numbers from 1, such as 1,4,8")
    return tuple(int(part) for part in parts)


def choose_mode(*, resume: bool, overwrite: bool) -> Literal["new", "resume", "overwrite"]:
    """Return what happens to results that are there already.

    Raises:
        UsageError: Both options were given.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if resume:
        return "resume"
    return "overwrite" if overwrite else "new"


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """How the result is shown."""

    json: Annotated[bool, _help("One JSON document on stdout instead of text.")] = False
    quiet: Annotated[bool, _help("No progress on stderr.", "-q")] = False


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model."""

    model: Annotated[str, _help("Name of a model record, or a TOML file.")] = "se_resnext50_32x4d"


@dataclass(frozen=True, kw_only=True)
class EngineOptions(ModelOptions):
    """What the model is compiled for."""

    engine: Annotated[str, _help("One of those that `assay engines` lists.")] = "openvino"
    precision: Annotated[str, _help("fp32, bf16, fp16 or int8; the engine's first if none is given.")] = ""
    device: Annotated[str, _help("Device of the engine; its first if none is given.")] = ""
    set: Annotated[
        tuple[str, ...], _help("NAME=VALUE, a setting of the engine; `assay engines` lists them.")
    ] = ()
    soc_version: Annotated[str, _help("The chip of engine ascend, such as Ascend310P3.")] = ""
    insert_op_conf: Annotated[str, _help("Engine ascend: rgb, or the path of an AIPP file.")] = ""

    def choose_settings(self) -> dict[str, str]:
        """Return the engine's settings by name.

        Raises:
            UsageError: Not NAME=VALUE, or one given twice.
        """
        given = [part.partition("=") for part in self.set]
        wrong = [name for name, equals, value in given if not (name and equals and value)]
        if wrong:
            raise UsageError(f"--set {wrong[0]}: expected NAME=VALUE, such as threads=2")
        named = {"soc_version": self.soc_version, "insert_op_conf": self.insert_op_conf}
        pairs = [(name, value) for name, _, value in given]
        pairs += [(name, value) for name, value in named.items() if value]
        settings = dict(pairs)
        if len(settings) < len(pairs):
            raise UsageError("--set: one setting is given twice")
        return settings


@dataclass(frozen=True, kw_only=True)
class QuantizeSettings:
    """How a model is quantised."""

    calibration_count: Annotated[int, _help("How many images it is calibrated on.")] = 300
    preset: Annotated[
        Literal["mixed", "performance"], _help("Activations asymmetric (mixed) or symmetric.")
    ] = "mixed"
    keep_float: Annotated[
        tuple[str, ...], _help("A layer that stays in float, by name or pattern such as '*fc*'.")
    ] = ()

    def choose_calibration(self, images: Path | None, reading: reading.ReadOptions) -> CalibrationOptions:
        """Return how a model is quantised."""
        from assay.workflows.calibration import CalibrationOptions

        return CalibrationOptions(
            images=images,
            image_count=self.calibration_count,
            preset=self.preset,
            keep_float=self.keep_float,
            reading=reading,
        )


@dataclass(frozen=True, kw_only=True)
class LabelFileOptions:
    """How the label file is read."""

    label_offset: Annotated[int, _help("What the label file's indices begin with.")] = 0
    trust_labels: Annotated[bool, _help("Believe labels that contradict ImageNet's published ones.")] = False
    max_label_mib: Annotated[int, _help("A larger label file is refused, MiB.")] = 64

    def choose_labels(self, path: Path | None = None) -> LabelOptions:
        """Return which label file, and how it is read.

        Raises:
            UsageError: An offset below 0.
        """
        from assay.images.label_files import LabelOptions

        if self.label_offset < 0:
            raise UsageError(f"--label-offset is {self.label_offset}; expected 0 or more, such as 1")
        return LabelOptions(
            path=path,
            offset=self.label_offset,
            trusted=self.trust_labels,
            max_bytes=_count_bytes("--max-label-mib", self.max_label_mib),
        )


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How images are read."""

    follow_links: Annotated[bool, _help("Follow links that lead out of the folder.")] = False
    max_pixels: Annotated[int, _help("An image with more pixels is a failed one.")] = 100_000_000
    max_image_mib: Annotated[int, _help("A larger image file is a failed one, MiB.")] = 64

    def choose_reading(self) -> reading.ReadOptions:
        """Return how images are read.

        Raises:
            UsageError: A limit below 1.
        """
        from assay.images.listing import ReadOptions

        if self.max_pixels < 1:
            raise UsageError(f"--max-pixels is {self.max_pixels}; expected 1 or more")
        return ReadOptions(
            max_pixels=self.max_pixels,
            max_file_bytes=_count_bytes("--max-image-mib", self.max_image_mib),
            follow_links=self.follow_links,
        )


def _count_bytes(option: str, mebibytes: int) -> int:
    if mebibytes < 1:
        raise UsageError(f"{option} is {mebibytes}; expected 1 or more")
    return mebibytes * 2**20


@dataclass(frozen=True, kw_only=True)
class ImageOptions(LabelFileOptions, ReadOptions):
    """Which images."""

    images: Annotated[
        Path, _help("Folder, class folders, tar, tar.gz, zip, WebDataset, Parquet, or a list of paths.")
    ]
    labels: Annotated[
        Path | None,
        _help("File of lines `NAME index`; class folders and ImageNet validation names need none."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """How predictions are stored."""

    shard_size: Annotated[int, _help("Images whose predictions share a file.")] = 1024
    keep_logits: Annotated[bool, _help("Keep all logits of every image, not only the top five.")] = False


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Where the results go."""

    output: Annotated[Path | None, _help("The run folder; a new one in runs/ if none is given.", "-o")] = None
    resume: Annotated[bool, _help("Go on with the run in that folder.")] = False
    overwrite: Annotated[bool, _help("Replace the run in that folder.")] = False

    def choose_mode(self) -> Literal["new", "resume", "overwrite"]:
        """Return what happens to a run that is there already.

        Raises:
            UsageError: Both --resume and --overwrite, or --resume without a folder.
        """
        if self.resume and self.output is None:
            raise UsageError("--resume needs the run folder", hint="give it with -o")
        return choose_mode(resume=self.resume, overwrite=self.overwrite)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions(
    ShowOptions, PredictionOptions, FolderOptions, QuantizeSettings, EngineOptions, ImageOptions
):
    """Options of `assay run`."""

    weights: Annotated[Path, _help("Checkpoint (.pth, .safetensors), or an ONNX file.")]
    batch_size: Annotated[str | None, _help("What speed is measured at: 1,4,8,16,32,64 if not given.")] = None
    opset: Annotated[int, _help("Opset of the ONNX file, 11 to 18.")] = 18
    compare_with_torch: Annotated[bool, _help("Let torch predict the same images, and compare.")] = False
    calibration: Annotated[
        Path | None, _help("Images to calibrate int8 on; some of --images if not given.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DemoOptions(ShowOptions):
    """Options of `assay demo`."""

    output: Annotated[Path, _help("Folder for the images, the weights and the run.", "-o")] = Path("demo")
    overwrite: Annotated[bool, _help("Replace the demo in that folder.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportOptions(ShowOptions, ModelOptions):
    """Options of `assay export`."""

    opset: Annotated[int, _help("Opset of the ONNX file, 11 to 18.")] = 18
    images: Annotated[Path | None, _help("Compare with torch on these images, not on drawn ones.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class QuantizeOptions(ShowOptions, ModelOptions, QuantizeSettings, ReadOptions):
    """Options of `assay quantize`."""

    calibration: Annotated[Path, _help("Images to calibrate on: a folder, or any form --images takes.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EnginesOptions(ShowOptions):
    """Options of `assay engines`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompileOptions(ShowOptions, EngineOptions):
    """Options of `assay compile`."""

    batch_size: Annotated[int | None, _help("Batches of exactly this size; any size if not given.")] = None
    overwrite: Annotated[bool, _help("Replace the compiled model in that folder.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ShowOptions, PredictionOptions, FolderOptions, ImageOptions):
    """Options of `assay evaluate`."""

    batch_size: Annotated[int | None, _help("Images in one call; 8, or what it was compiled for.")] = None
    real_labels: Annotated[Path | None, _help("Score by ReaL labels too: real.json.")] = None
    shard: Annotated[str | None, _help("Compute share I of N of the run, as I/N, beside others.")] = None

    def choose_share(self) -> Share | None:
        """Return which parts of the run are computed, or None for all.

        Raises:
            UsageError: Not I/N with I from 1 to N; or without a folder; or with --overwrite.
        """
        from assay.workflows.run_locks import Share

        if self.shard is None:
            return None
        number, _, count = self.shard.partition("/")
        if not (_is_number(number) and _is_number(count) and 1 <= int(number) <= int(count)):
            raise UsageError(f"--shard {self.shard!r}: expected I/N with I from 1 to N, such as 2/4")
        if self.output is None or self.overwrite:
            raise UsageError("--shard needs the run folder, -o DIR, and excludes --overwrite")
        return Share(number=int(number), count=int(count))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(ShowOptions, FolderOptions):
    """Options of `assay benchmark`."""

    batch_size: Annotated[str | None, _help("What speed is measured at: 1,4,8,16,32,64 if not given.")] = None
    repeats: Annotated[int, _help("How often each batch size is measured, at least 5.")] = 5
    images: Annotated[Path | None, _help("Measure on these images, not on drawn ones.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DoctorOptions(ShowOptions, LabelFileOptions, ReadOptions):
    """Options of `assay doctor`."""

    images: Annotated[Path | None, _help("Examine this copy of a data set; else this machine.")] = None
    labels: Annotated[Path | None, _help("The label file that goes with it, if there is one.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FetchOptions(ShowOptions):
    """Options of `assay fetch`."""

    cache: Annotated[Path | None, _help("Folder for the weights; the user's cache if none is given.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReportOptions(ShowOptions):
    """Options of `assay report`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MergeOptions(ShowOptions):
    """Options of `assay merge`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PreprocessOptions(ShowOptions, ModelOptions, ReadOptions):
    """Options of `assay preprocess`."""

    resume: Annotated[bool, _help("Go on where an interrupted run stopped.")] = False
    overwrite: Annotated[bool, _help("Replace the .bin files in that folder.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InfoOptions(ShowOptions):
    """Options of `assay info`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InferOptions(ShowOptions):
    """Options of `assay infer`: the inference tool's."""

    input: Annotated[
        str | None, _help("Folder of .bin or .npy files, or such files; made-up values if not given.", "-i")
    ] = None
    output: Annotated[str | None, _help("Where the result folder is made; none if not given.", "-o")] = None
    output_dirname: Annotated[str | None, _help("The result folder's name; else the local time.")] = None
    outfmt: Annotated[Literal["TXT", "BIN", "NPY"], _help("Form of the result files.")] = "BIN"
    batchsize: Annotated[int | None, _help("Images in one run; else as compiled, or as in one file.")] = None
    loop: Annotated[int, _help("How often each batch is run and measured.")] = 1
    warmup_count: Annotated[int, _help("Runs of the first batch that are not measured.")] = 1
    pure_data_type: Annotated[Literal["zero", "random"], _help("What made-up values are.")] = "zero"
    device: Annotated[int, _help("Number of the device: 0.")] = 0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ShowOptions, LabelFileOptions):
    """Options of `assay score`."""

    allow_missing: Annotated[bool, _help("Score although labels have no result: as wrong.")] = False
