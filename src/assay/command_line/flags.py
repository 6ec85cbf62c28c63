"""Groups of flags that several commands share.

Their annotations are evaluated here, not later in the module of a command that inherits them.
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from assay.command_line.candidates import list_devices, list_engine_names, list_precisions, list_records
from assay.command_line.parse import (
    choose_mode,
    parse_mebibytes,
    parse_numbers,
    parse_settings,
    refuse_unused,
)
from assay.defaults import (
    CALIBRATION_IMAGE_COUNT,
    DEFAULT_BATCH_SIZES,
    DEFAULT_ENGINE,
    DEFAULT_OPSET,
    DEFAULT_SHARD_SIZE,
    MAX_FILE_MIB,
    MAX_PIXELS,
    MIN_REPEATS,
    OPSETS,
    REPEAT_SECONDS,
    STOP_ERROR,
)
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.engines.engine import CompileChoice
    from assay.images.calibration import CalibrationOptions
    from assay.images.label_files import LabelOptions
    from assay.images.listing import ReadOptions
    from assay.images.request import ImageRequest
    from assay.measure.gates import Gate
    from assay.measure.speed.repeats import RepeatPlan
    from assay.runs.place import RunPlace
    from assay.workflows.evaluate.evaluate import EvaluateOptions

MAX_DIFFERENT_HELP = "Other answers than the exact model's to be left at most, in % of all images."
_SIZES = ",".join(map(str, DEFAULT_BATCH_SIZES))


def make_help(
    text: str, alias: str | None = None, *, is_flag: bool = True, offers: Callable[..., Any] | None = None
) -> Parameter:
    """How a flag is shown, its short name, and what shells offer; what is no flag is filled in by `main`."""
    return Parameter(help=text, alias=alias, parse=is_flag, completer=offers)


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
        make_help(
            "Model record: TOML file, or name of `assay models`; what the model file carries if not given.",
            offers=list_records,
        ),
    ] = ""

    def find_model_file(self) -> Path | None:
        """The TOML file, where one was given."""
        return Path(self.model) if self.model.endswith(".toml") else None


@dataclass(frozen=True, kw_only=True)
class CheckpointFlags(ModelFlags):
    """How a checkpoint is exported."""

    weights_key: Annotated[
        str | None,
        make_help("Set of weights of the checkpoint, such as state_dict_ema; the plain ones if not given."),
    ] = None
    opset: Annotated[int, make_help(f"Opset of the ONNX file, {OPSETS[0]} to {OPSETS[-1]}.")] = DEFAULT_OPSET


@dataclass(frozen=True, kw_only=True)
class EngineFlags(ModelFlags):
    """What the model is compiled for."""

    engine: Annotated[str, make_help("The engine; `assay engines` lists them.", offers=list_engine_names)] = (
        DEFAULT_ENGINE
    )
    precision: Annotated[
        str, make_help("fp32, bf16, fp16 or int8; the engine's first if not given.", offers=list_precisions)
    ] = ""
    device: Annotated[
        str, make_help("Device of the engine; its first if not given.", offers=list_devices)
    ] = ""
    set: Annotated[
        tuple[str, ...], make_help("NAME=VALUE, a setting of the engine; `assay engines` lists them.")
    ] = ()
    soc_version: Annotated[str, make_help("The chip of engine ascend, such as Ascend310P3.")] = ""
    insert_op_conf: Annotated[str, make_help("Engine ascend: rgb, or the path of an AIPP file.")] = ""

    def to_compile_choice(self) -> "CompileChoice":
        """The engine, and how it compiles.

        Raises:
            UsageError: A setting is not NAME=VALUE, or is given twice.
        """
        from assay.engines.engine import CompileChoice

        return CompileChoice(
            engine=self.engine,
            precision=self.precision,
            device=self.device,
            settings=parse_settings(
                self.set, soc_version=self.soc_version, insert_op_conf=self.insert_op_conf
            ),
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationFlags:
    """How an int8 model is calibrated."""

    calibration_count: Annotated[int, make_help("Number of images to calibrate on.")] = (
        CALIBRATION_IMAGE_COUNT
    )
    preset: Annotated[
        Literal["mixed", "performance"], make_help("Activations asymmetric (mixed) or symmetric.")
    ] = "mixed"
    weight_range: Annotated[
        Literal["half", "full"],
        make_help(
            "Of int8 weights: half (7 bits) is right on every processor, full more exact where it has VNNI."
        ),
    ] = "half"
    keep_float: Annotated[
        tuple[str, ...],
        make_help("Layer to keep in float, by name or by pattern such as '*fc*'; repeatable."),
    ] = ()

    def to_calibration_options(self, images: "ImageRequest | None") -> "CalibrationOptions":
        """How a model is quantised, on which images."""
        from assay.images.calibration import CalibrationOptions

        return CalibrationOptions(
            images=images,
            image_count=self.calibration_count,
            preset=self.preset,
            weight_range=self.weight_range,
            keep_float=self.keep_float,
        )


@dataclass(frozen=True, kw_only=True)
class LabelFileFlags:
    """How the label file is read."""

    label_offset: Annotated[int, make_help("Index of the first class in the label file: 0, or 1.")] = 0
    trust_labels: Annotated[bool, make_help("Accept labels that contradict ImageNet's published ones.")] = (
        False
    )
    max_label_mib: Annotated[int, make_help("Largest label file to read, in MiB.")] = MAX_FILE_MIB

    def to_label_options(self, path: Path | None = None) -> "LabelOptions":
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
            max_bytes=parse_mebibytes("--max-label-mib", self.max_label_mib),
        )


@dataclass(frozen=True, kw_only=True)
class ClassFlags(LabelFileFlags):
    """What the classes of the model are called, and how the label file is read."""

    classes: Annotated[
        str | None,
        make_help("Names of the model's classes, as its outputs go: a file, or sorted (the class folders)."),
    ] = None

    def to_label_options(self, path: Path | None = None) -> "LabelOptions":
        """See `LabelFileFlags.to_label_options`."""
        options = super().to_label_options(path)
        if self.classes is None:
            return options
        is_word = self.classes == "sorted"
        return dataclasses.replace(options, classes="sorted" if is_word else Path(self.classes))


LABEL_FLAGS = ("labels", *(field.name for field in dataclasses.fields(LabelFileFlags)))
CLASS_FLAGS = (*LABEL_FLAGS, "classes")
"""What goes with labelled images, in commands where these need not be given."""


@dataclass(frozen=True, kw_only=True)
class ReadFlags:
    """How images are read."""

    follow_links: Annotated[bool, make_help("Follow links that lead out of the folder.")] = False
    max_pixels: Annotated[int, make_help("Most pixels of an image; a larger one counts as failed.")] = (
        MAX_PIXELS
    )
    max_image_mib: Annotated[int, make_help("Largest image file, in MiB; a larger one counts as failed.")] = (
        MAX_FILE_MIB
    )

    def to_read_options(self) -> "ReadOptions":
        """How images are read.

        Raises:
            UsageError: A limit below 1.
        """
        from assay.images.listing import ReadOptions

        if self.max_pixels < 1:
            raise UsageError(f"--max-pixels is {self.max_pixels}; expected 1 or more")
        return ReadOptions(
            max_pixels=self.max_pixels,
            max_file_bytes=parse_mebibytes("--max-image-mib", self.max_image_mib),
            follow_links=self.follow_links,
        )


READ_FLAGS = tuple(field.name for field in dataclasses.fields(ReadFlags))


@dataclass(frozen=True, kw_only=True)
class ImageFlags(ClassFlags, ReadFlags):
    """Which images."""

    images: Annotated[
        Path, make_help("Folder, class folders, s3:// or gs:// URL, tar, zip, WebDataset, Parquet, or list.")
    ]
    labels: Annotated[
        Path | None,
        make_help("File of lines `NAME class`; class folders and ImageNet validation names need none."),
    ] = None
    subset: Annotated[
        str | None,
        make_help(
            "Score also among classes of imagenet-a, imagenette, …, images; or none; by synset if not given."
        ),
    ] = None
    limit: Annotated[
        int | None, make_help("Use at most this many images, drawn by their names; all if not given.")
    ] = None

    def to_image_request(self) -> "ImageRequest":
        """The images, with their labels."""
        from assay.images.request import ImageRequest

        labels = dataclasses.replace(self.to_label_options(self.labels), subset=self.subset)
        return ImageRequest(path=self.images, labels=labels, reading=self.to_read_options(), limit=self.limit)


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
            "Gate to pass, else exit status 1, or 6 if the run cannot tell: published, top1>=78.5, "
            "paired:0.1, …; repeatable."
        ),
    ] = ()
    junit: Annotated[Path | None, make_help("JUnit file to write, with a test case for each gate.")] = None

    def to_gates(self) -> "tuple[Gate, ...]":
        """The gates.

        Raises:
            UsageError: Not a gate.
        """
        if not self.gate:
            return ()
        from assay.measure.gates import parse_gate

        return tuple(map(parse_gate, self.gate))


@dataclass(frozen=True, kw_only=True)
class PredictionFlags(GateFlags):
    """How images are predicted, and when that ends."""

    shard_size: Annotated[int, make_help("Images in one file of predictions.")] = DEFAULT_SHARD_SIZE
    keep_logits: Annotated[bool, make_help("Keep all logits of every image, not only the top five.")] = False
    stop_when_certain: Annotated[
        bool, make_help("Stop as soon as the verdict of every gate on accuracy is certain.")
    ] = False
    stop_error: Annotated[
        float, make_help("Accepted risk of failing a gate that the full run would pass.")
    ] = STOP_ERROR

    def to_evaluate_options(self) -> "EvaluateOptions":
        """How images are predicted, and which gates that must pass.

        Raises:
            UsageError: Not a gate, or --stop-error without --stop-when-certain.
        """
        from assay.workflows.evaluate.evaluate import EvaluateOptions

        if not self.stop_when_certain:
            refuse_unused(self, ["stop_error"], "without --stop-when-certain")
        return EvaluateOptions(
            shard_size=self.shard_size,
            keep_logits=self.keep_logits,
            gates=self.to_gates(),
            stop_error=self.stop_error if self.stop_when_certain else None,
        )


@dataclass(frozen=True, kw_only=True)
class SpeedFlags:
    """How the speed is measured."""

    batch_size: Annotated[
        str | None, make_help(f"Batch sizes to measure, such as 1,4,8; {_SIZES} if not given.")
    ] = None
    repeats: Annotated[int, make_help(f"Repeats of each batch size, at least {MIN_REPEATS}.")] = MIN_REPEATS
    seconds: Annotated[float, make_help("Length of one repeat; a VALID row needs 3 s in all.")] = (
        REPEAT_SECONDS
    )
    fresh_processes: Annotated[
        bool, make_help("Each repeat in a new process, which loads the model again; models take turns.")
    ] = False

    def to_repeat_plan(self) -> "RepeatPlan":
        """What is measured, and for how long.

        Raises:
            UsageError: Batch sizes that are not whole numbers from 1.
        """
        from assay.measure.speed.repeats import RepeatPlan

        return RepeatPlan(
            batch_sizes=parse_numbers("--batch-size", self.batch_size),
            repeats=self.repeats,
            seconds=self.seconds,
            fresh_processes=self.fresh_processes,
        )


@dataclass(frozen=True, kw_only=True)
class FolderFlags(ShowFlags):
    """Where the results go."""

    output: Annotated[Path | None, make_help("The run folder; a new one in runs/ if not given.", "-o")] = None
    resume: Annotated[bool, make_help("Continue the run in that folder.")] = False
    overwrite: Annotated[bool, make_help("Replace the run in that folder.")] = False

    def to_run_place(self) -> "RunPlace":
        """Where the run folder is, and what happens to a run that is there already.

        Raises:
            UsageError: Both --resume and --overwrite, or --resume without a folder.
        """
        from assay.runs.place import RunPlace

        if self.resume and self.output is None:
            raise UsageError("--resume needs the run folder", hint="give it with -o")
        mode = choose_mode(resume=self.resume, overwrite=self.overwrite)
        return RunPlace(path=self.output, mode=mode, arguments=tuple(sys.argv[1:]), supplied=self.supplied)
