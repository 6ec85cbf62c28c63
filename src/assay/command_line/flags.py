"""Groups of flags that several commands share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.engines.engine import CompileChoice
    from assay.images.calibration import CalibrationOptions
    from assay.images.label_files import LabelOptions
    from assay.images.listing import ReadOptions
    from assay.measure.gates import Gate
    from assay.runs.folder import RunPlace
    from assay.workflows.speed.benchmark import SpeedRequest


WEIGHTS_KEY_HELP = (
    "Which set of weights of the checkpoint, such as state_dict_ema; the plain ones if not given."
)


def make_help(text: str, alias: str | None = None, *, is_flag: bool = True) -> Parameter:
    """How a flag is shown, and its short name; a field that is no flag is filled in by `main`."""
    return Parameter(help=text, alias=alias, parse=is_flag)


def parse_numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """The numbers of a flag's list such as `1,4,8`, or None for None.

    >>> parse_numbers("--batch-size", "1,4,8")
    (1, 4, 8)

    Raises:
        UsageError: Not a list of whole numbers from 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"{flag} {text!r}: expected whole numbers from 1, such as 1,4,8")
    return tuple(int(part) for part in parts)


def choose_mode(*, resume: bool, overwrite: bool) -> Literal["new", "resume", "overwrite"]:
    """What happens to results that are there already.

    Raises:
        UsageError: Both flags were given.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if resume:
        return "resume"
    return "overwrite" if overwrite else "new"


@Parameter(name="*")  # the flags of every class below are given by their own names
@dataclass(frozen=True, kw_only=True)
class ShowFlags:
    """How the result is shown; the base of every command's flags."""

    json: Annotated[bool, make_help("One JSON document on stdout instead of text.")] = False
    quiet: Annotated[bool, make_help("No progress on stderr.", "-q")] = False
    supplied: Annotated[tuple[str, ...], make_help("By ./assay.toml and ASSAY_*.", is_flag=False)] = ()


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which model."""

    model: Annotated[
        str,
        make_help("Name of a model record, or a TOML file; if not given, what the ONNX file carries."),
    ] = ""

    def find_model_file(self) -> Path | None:
        """The TOML file, where one was given."""
        return Path(self.model) if self.model.endswith(".toml") else None


@dataclass(frozen=True, kw_only=True)
class EngineFlags(ModelFlags):
    """What the model is compiled for."""

    engine: Annotated[str, make_help("The engine; `assay engines` lists them.")] = "openvino"
    precision: Annotated[str, make_help("fp32, bf16, fp16 or int8; the engine's first if not given.")] = ""
    device: Annotated[str, make_help("Device of the engine; its first if not given.")] = ""
    set: Annotated[
        tuple[str, ...], make_help("NAME=VALUE, a setting of the engine; `assay engines` lists them.")
    ] = ()
    soc_version: Annotated[str, make_help("The chip of engine ascend, such as Ascend310P3.")] = ""
    insert_op_conf: Annotated[str, make_help("Engine ascend: rgb, or the path of an AIPP file.")] = ""

    def to_compile_choice(self) -> CompileChoice:
        """The engine, and how it compiles.

        Raises:
            UsageError: A setting is not NAME=VALUE, or is given twice.
        """
        from assay.engines.engine import CompileChoice

        return CompileChoice(
            engine=self.engine,
            precision=self.precision,
            device=self.device,
            settings=self._parse_settings(),
        )

    def _parse_settings(self) -> dict[str, str]:
        """The engine's settings by name.

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
class CalibrationFlags:
    """How an int8 model is calibrated."""

    calibration_count: Annotated[int, make_help("Number of images to calibrate on.")] = 300
    preset: Annotated[
        Literal["mixed", "performance"], make_help("Activations asymmetric (mixed) or symmetric.")
    ] = "mixed"
    keep_float: Annotated[
        tuple[str, ...],
        make_help("Layer to keep in float, by name or by pattern such as '*fc*'; repeatable."),
    ] = ()

    def to_calibration_options(self, images: Path | None, reading: ReadOptions) -> CalibrationOptions:
        """How a model is quantised, on which images."""
        from assay.images.calibration import CalibrationOptions

        return CalibrationOptions(
            images=images,
            image_count=self.calibration_count,
            preset=self.preset,
            keep_float=self.keep_float,
            reading=reading,
        )


@dataclass(frozen=True, kw_only=True)
class LabelFileFlags:
    """How the label file is read."""

    label_offset: Annotated[int, make_help("Index of the first class in the label file: 0, or 1.")] = 0
    trust_labels: Annotated[bool, make_help("Accept labels that contradict ImageNet's published ones.")] = (
        False
    )
    max_label_mib: Annotated[int, make_help("Largest label file to read, in MiB.")] = 64

    def to_label_options(self, path: Path | None = None) -> LabelOptions:
        """Which label file, and how it is read.

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
class ReadFlags:
    """How images are read."""

    follow_links: Annotated[bool, make_help("Follow links that lead out of the folder.")] = False
    max_pixels: Annotated[int, make_help("Most pixels of an image; a larger one counts as failed.")] = (
        100_000_000
    )
    max_image_mib: Annotated[int, make_help("Largest image file, in MiB; a larger one counts as failed.")] = (
        64
    )

    def to_read_options(self) -> ReadOptions:
        """How images are read.

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


def _count_bytes(flag: str, mebibytes: int) -> int:
    if mebibytes < 1:
        raise UsageError(f"{flag} is {mebibytes}; expected 1 or more")
    return mebibytes * 2**20


@dataclass(frozen=True, kw_only=True)
class ImageFlags(LabelFileFlags, ReadFlags):
    """Which images."""

    images: Annotated[
        Path, make_help("Folder, class folders, s3:// or gs:// URL, tar, zip, WebDataset, Parquet, or list.")
    ]
    labels: Annotated[
        Path | None,
        make_help("File of lines `NAME index`; class folders and ImageNet validation names need none."),
    ] = None
    limit: Annotated[
        int | None, make_help("Use at most this many images, drawn by their names; all if not given.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CannotTellFlags:
    """What counts as a pass."""

    cannot_tell: Annotated[
        Literal["pass", "fail"] | None,
        make_help("Take 'cannot tell' for a pass or a fail; its own exit status, 6, if not given."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class GateFlags(CannotTellFlags):
    """What the run must show."""

    gate: Annotated[
        tuple[str, ...],
        make_help(
            "Gate to pass, else exit status 1, or 6 if the run cannot tell: published, mlperf-99, smoke, "
            "paired:0.1, …; repeatable."
        ),
    ] = ()

    def choose_gates(self) -> tuple[Gate, ...]:
        """The gates.

        Raises:
            UsageError: Not a gate.
        """
        if not self.gate:
            return ()
        from assay.measure.gates import parse_gate

        return tuple(map(parse_gate, self.gate))


@dataclass(frozen=True, kw_only=True)
class StopFlags(GateFlags):
    """When a run ends early."""

    stop_when_certain: Annotated[
        bool, make_help("Stop as soon as the verdict of every gate on accuracy is certain.")
    ] = False
    stop_error: Annotated[
        float, make_help("Accepted risk of failing a gate that the full run would pass.")
    ] = 0.001

    def choose_stop_error(self) -> float | None:
        """The accepted risk of stopping early; None where all images are run."""
        return self.stop_error if self.stop_when_certain else None


@dataclass(frozen=True, kw_only=True)
class SpeedFlags:
    """How the speed is measured."""

    batch_size: Annotated[
        str | None, make_help("Batch sizes to measure, such as 1,4,8; 1,4,8,16,32,64 if not given.")
    ] = None
    repeats: Annotated[int, make_help("Repeats of each batch size, at least 5.")] = 5
    seconds: Annotated[float, make_help("Length of one repeat; a VALID row needs 3 s in all.")] = 1.0

    def choose_speed(self) -> SpeedRequest:
        """How models are measured.

        Raises:
            UsageError: Seconds that are not above 0, fewer repeats than 5, or batch sizes below 1.
        """
        from assay.measure.speed.repeats import MIN_REPEATS
        from assay.workflows.speed.benchmark import SpeedRequest

        if not self.seconds > 0:
            raise UsageError(f"--seconds is {self.seconds:g}; expected more than 0")
        if self.repeats < MIN_REPEATS:
            raise UsageError(f"--repeats is {self.repeats}; expected {MIN_REPEATS} or more")
        return SpeedRequest(
            batch_sizes=parse_numbers("--batch-size", self.batch_size),
            repeats=self.repeats,
            seconds=self.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class PredictionFlags:
    """How predictions are stored."""

    shard_size: Annotated[int, make_help("Images in one file of predictions.")] = 1024
    keep_logits: Annotated[bool, make_help("Keep all logits of every image, not only the top five.")] = False


@dataclass(frozen=True, kw_only=True)
class FolderFlags(ShowFlags):
    """Where the results go."""

    output: Annotated[Path | None, make_help("The run folder; a new one in runs/ if not given.", "-o")] = None
    resume: Annotated[bool, make_help("Continue the run in that folder.")] = False
    overwrite: Annotated[bool, make_help("Replace the run in that folder.")] = False

    def to_run_place(self) -> RunPlace:
        """Where the run folder is, and what happens to a run that is there already.

        Raises:
            UsageError: Both --resume and --overwrite, or --resume without a folder.
        """
        from assay.runs.folder import RunPlace

        if self.resume and self.output is None:
            raise UsageError("--resume needs the run folder", hint="give it with -o")
        mode = choose_mode(resume=self.resume, overwrite=self.overwrite)
        return RunPlace(path=self.output, mode=mode, arguments=tuple(sys.argv[1:]), supplied=self.supplied)
