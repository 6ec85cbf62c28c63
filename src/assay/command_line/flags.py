"""Groups of options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.images import listing as reading
    from assay.images.calibration import CalibrationOptions
    from assay.images.label_files import LabelOptions
    from assay.workflows.evaluate import early_stop
    from assay.workflows.speed.benchmark import SpeedRequest


def make_help(text: str, alias: str | None = None) -> Parameter:
    """Return how an option is shown, and its short name."""
    return Parameter(help=text, alias=alias)


def parse_batch_sizes(text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of a list such as `1,4,8`, or None for None.

    >>> parse_batch_sizes("1,4,8")
    (1, 4, 8)

    Raises:
        UsageError: Not a list of whole numbers from 1.
    """
    return parse_numbers("--batch-size", text)


def parse_numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of an option's list, or None for None.

    Raises:
        UsageError: Not a list of whole numbers from 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"{option} {text!r}: expected whole numbers from 1, such as 1,4,8")
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

    json: Annotated[bool, make_help("One JSON document on stdout instead of text.")] = False
    quiet: Annotated[bool, make_help("No progress on stderr.", "-q")] = False


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model."""

    model: Annotated[str, make_help("Name of a model record, or a TOML file.")] = "se_resnext50_32x4d"


@dataclass(frozen=True, kw_only=True)
class EngineOptions(ModelOptions):
    """What the model is compiled for."""

    engine: Annotated[str, make_help("One of those that `assay engines` lists.")] = "openvino"
    precision: Annotated[str, make_help("fp32, bf16, fp16 or int8; the engine's first if none is given.")] = (
        ""
    )
    device: Annotated[str, make_help("Device of the engine; its first if none is given.")] = ""
    set: Annotated[
        tuple[str, ...], make_help("NAME=VALUE, a setting of the engine; `assay engines` lists them.")
    ] = ()
    soc_version: Annotated[str, make_help("The chip of engine ascend, such as Ascend310P3.")] = ""
    insert_op_conf: Annotated[str, make_help("Engine ascend: rgb, or the path of an AIPP file.")] = ""

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

    calibration_count: Annotated[int, make_help("How many images it is calibrated on.")] = 300
    preset: Annotated[
        Literal["mixed", "performance"], make_help("Activations asymmetric (mixed) or symmetric.")
    ] = "mixed"
    keep_float: Annotated[
        tuple[str, ...], make_help("A layer that stays in float, by name or pattern such as '*fc*'.")
    ] = ()

    def choose_calibration(self, images: Path | None, reading: reading.ReadOptions) -> CalibrationOptions:
        """Return how a model is quantised."""
        from assay.images.calibration import CalibrationOptions

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

    label_offset: Annotated[int, make_help("What the label file's indices begin with.")] = 0
    trust_labels: Annotated[bool, make_help("Believe labels that contradict ImageNet's published ones.")] = (
        False
    )
    max_label_mib: Annotated[int, make_help("A larger label file is refused, MiB.")] = 64

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

    follow_links: Annotated[bool, make_help("Follow links that lead out of the folder.")] = False
    max_pixels: Annotated[int, make_help("An image with more pixels is a failed one.")] = 100_000_000
    max_image_mib: Annotated[int, make_help("A larger image file is a failed one, MiB.")] = 64

    def to_read_options(self) -> reading.ReadOptions:
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
        Path, make_help("Folder, class folders, s3:// or gs:// URL, tar, zip, WebDataset, Parquet, or list.")
    ]
    labels: Annotated[
        Path | None,
        make_help("File of lines `NAME index`; class folders and ImageNet validation names need none."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What the run must show."""

    gate: Annotated[
        tuple[str, ...],
        make_help("Exit status 1 unless it passes: published, mlperf-99, smoke, paired:0.1, …; repeatable."),
    ] = ()

    def choose_gates(self) -> tuple[str, ...]:
        """Return the gates.

        Raises:
            UsageError: One that is none.
        """
        if self.gate:
            from assay.measure.gates import parse_gate

            for gate in self.gate:
                parse_gate(gate)
        return self.gate


@dataclass(frozen=True, kw_only=True)
class StopOptions(GateOptions):
    """When a run ends early."""

    stop_when_certain: Annotated[bool, make_help("End when every gate on accuracy is certain.")] = False
    stop_error: Annotated[float, make_help("Chance that a gate is failed so that would pass.")] = 0.001

    def choose_stop(self) -> early_stop.StopOptions | None:
        """Return when the run ends early; None for never.

        Raises:
            UsageError: No gate on accuracy, or an error that is none.
        """
        if not self.stop_when_certain:
            return None
        from assay.workflows.evaluate.early_stop import StopOptions, check_stop

        chosen = StopOptions(gates=self.choose_gates(), error=self.stop_error)
        check_stop(chosen)
        return chosen


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """How the speed is measured."""

    batch_size: Annotated[
        str | None, make_help("What speed is measured at: 1,4,8,16,32,64 if not given.")
    ] = None
    repeats: Annotated[int, make_help("How often each batch size is measured, at least 5.")] = 5
    seconds: Annotated[float, make_help("How long a repeat lasts; a VALID row needs 3 s in all.")] = 1.0

    def choose_speed(self) -> SpeedRequest:
        """Return how models are measured.

        Raises:
            UsageError: Seconds that are not above 0, fewer repeats than 5, or batch sizes that are none.
        """
        from assay.measure.speed.repeats import MIN_REPEATS
        from assay.workflows.speed.benchmark import SpeedRequest

        if not self.seconds > 0:
            raise UsageError(f"--seconds is {self.seconds:g}; expected more than 0")
        if self.repeats < MIN_REPEATS:
            raise UsageError(f"--repeats is {self.repeats}; expected {MIN_REPEATS} or more")
        return SpeedRequest(
            batch_sizes=parse_batch_sizes(self.batch_size), repeats=self.repeats, seconds=self.seconds
        )


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """How predictions are stored."""

    shard_size: Annotated[int, make_help("Images whose predictions share a file.")] = 1024
    keep_logits: Annotated[bool, make_help("Keep all logits of every image, not only the top five.")] = False
    limit: Annotated[
        int | None, make_help("So many images at most, drawn by their names; all if not given.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Where the results go."""

    output: Annotated[
        Path | None, make_help("The run folder; a new one in runs/ if none is given.", "-o")
    ] = None
    resume: Annotated[bool, make_help("Go on with the run in that folder.")] = False
    overwrite: Annotated[bool, make_help("Replace the run in that folder.")] = False

    def choose_mode(self) -> Literal["new", "resume", "overwrite"]:
        """Return what happens to a run that is there already.

        Raises:
            UsageError: Both --resume and --overwrite, or --resume without a folder.
        """
        if self.resume and self.output is None:
            raise UsageError("--resume needs the run folder", hint="give it with -o")
        return choose_mode(resume=self.resume, overwrite=self.overwrite)
