"""What a full run runs: weights to the compiled models that are evaluated, measured and compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from assay.defaults import DEFAULT_BATCH_SIZES
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import WEIGHTS_KEY, CompileChoice, CompileOptions
from assay.engines.sources import is_quantised
from assay.errors import FixedBatchError, UsageError
from assay.images.calibration import DEFAULT_CALIBRATION, CalibrationOptions
from assay.images.label_files import NO_LABEL_FILE, LabelOptions
from assay.images.listing import DEFAULT_READ_OPTIONS, ReadOptions
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex
from assay.inference.shards import DEFAULT_SHARD_SIZE
from assay.measure.gates import Gate
from assay.models.record import ModelRecord
from assay.runs.folder import (
    COMPILED_FOLDER,
    FLOAT_FOLDER,
    INT8_FILE,
    ONNX_FILE,
    REFERENCE_FOLDER,
    RunFolder,
)
from assay.workflows.evaluate.evaluate import make_predictor
from assay.workflows.evaluate.predict import Predictor
from assay.workflows.models.compile import compile_model
from assay.workflows.speed.benchmark import DEFAULT_REQUEST, SpeedRequest

PARITY_IMAGE_COUNT = 4
REFERENCE_BATCH_SIZE = 4  # torch's fastest on two processors, by half against 16


@dataclass(frozen=True, kw_only=True)
class FullRun:
    """What a full run is made of.

    Args:
        weights: A checkpoint, or an ONNX file, which is then compiled as it is.
        images: The folder of images.
        labels: The label file, if there is one.
        reading: How images are read.
        model: Name of a model record, or the path of one; empty for the one that the ONNX file carries, or,
            of a checkpoint, SE_ResNeXt50's.
        compile: The engine, and how it compiles.
        calibration: How an int8 model is calibrated.
        speed: How the speed is measured.
        weights_key: Which set of weights of a checkpoint; None for the plain ones.
        opset: The ai.onnx opset of the export, 11 to 18.
        shard_size: Images whose predictions share a file.
        keep_logits: Whether the predictions hold all logits.
        compare_with_torch: Whether torch predicts the same images too.
        limit: Images that are predicted at most; None means all.
        gates: What the run must show.
        stop_error: As in `EvaluateOptions`.
        remark: Stands at the head of the report.
    """

    weights: Path
    images: Path
    labels: LabelOptions = NO_LABEL_FILE
    reading: ReadOptions = DEFAULT_READ_OPTIONS
    model: str = ""
    compile: CompileChoice = field(default_factory=CompileChoice)
    calibration: CalibrationOptions = DEFAULT_CALIBRATION
    speed: SpeedRequest = DEFAULT_REQUEST
    weights_key: str | None = None
    opset: int = 18
    shard_size: int = DEFAULT_SHARD_SIZE
    keep_logits: bool = False
    compare_with_torch: bool = False
    limit: int | None = None
    gates: tuple[Gate, ...] = ()
    stop_error: float | None = None
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class RunModels:
    """What a full run runs.

    Args:
        evaluated: The compiled model that predicts the images.
        measured: The compiled models whose speed is measured.
        speed: How.
        reference: What the predictions are compared with, if anything.
    """

    evaluated: Path
    measured: Sequence[Path]
    speed: SpeedRequest
    reference: Predictor | None


def check_request(request: FullRun, record: ModelRecord) -> None:
    """Refuse what the engine cannot do, before any work.

    Raises:
        UsageError: An unknown engine, options that it does not declare, or a key for an ONNX file.
        MissingRuntimeError: Its runtime or device is not there.
    """
    if request.weights_key is not None and request.weights.suffix.lower() == ".onnx":
        raise UsageError(
            f"--weights-key {request.weights_key}: {request.weights} is an ONNX file, with one set of weights"
        )
    for precision in (
        ("fp32", "int8") if request.compile.precision == "int8" else (request.compile.precision,)
    ):
        _resolve(request, record, precision, _choose_sizes(request)[0])


def make_models(request: FullRun, record: ModelRecord, index: ImageIndex, run: RunFolder) -> RunModels:
    """Make of the weights, in the run folder, all that the run needs.

    Raises:
        AssayError: As the export, the quantisation and the compilation.
    """
    if find_engine(request.compile.engine).source == "checkpoint":
        source = request.weights
    else:
        source = _export(request, record, index, run)
    float_dir = None
    if request.compile.precision == "int8" and not is_quantised(source):
        float_dir = _compile(request, record, source, run.path / FLOAT_FOLDER, run, "fp32")[-1]
        source = _quantise(request, record, source, run)
    compiled = _compile(request, record, source, run.path / COMPILED_FOLDER, run, request.compile.precision)
    return RunModels(
        evaluated=compiled[-1],
        measured=[*compiled, float_dir] if float_dir else compiled,
        speed=request.speed if len(compiled) == 1 else replace(request.speed, batch_sizes=None),
        reference=_find_reference(request, record, float_dir),
    )


def _export(request: FullRun, record: ModelRecord, index: ImageIndex, run: RunFolder) -> Path:
    """Return the path of the ONNX file: the one that was given, or one made of the checkpoint."""
    if request.weights.suffix.lower() == ".onnx":
        return request.weights
    from assay.workflows.models.export import ExportOptions, export_checkpoint

    samples = load_sample_images(record, index, PARITY_IMAGE_COUNT, run.announce, request.reading)
    options = ExportOptions(opset=request.opset, weights_key=request.weights_key)
    exported = export_checkpoint(request.weights, run.path / ONNX_FILE, record, samples, run, options)
    run.record_export(request.weights.name, exported.weights_sha256, exported.opset, exported.parity)
    run.record_weights_key(exported.weights_key)
    return exported.onnx_path


def _quantise(request: FullRun, record: ModelRecord, onnx_path: Path, run: RunFolder) -> Path:
    """Return the path of the quantised ONNX file; one of the same file and images is used again."""
    from assay.workflows.models.quantize import quantize_file

    made = quantize_file(
        onnx_path, run.path / INT8_FILE, record, request.calibration, run, default_images=request.images
    )
    run.record_calibration(made)
    return run.path / INT8_FILE


def _compile(
    request: FullRun, record: ModelRecord, source: Path, folder: Path, run: RunFolder, precision: str
) -> list[Path]:
    """The compiled models: one, or one for each batch size where the engine fixes it.

    A network that runs batches of one size only is compiled for that where speed is measured at that alone.
    """
    folders = []
    for size in _choose_sizes(request):
        options = _resolve(request, record, precision, size)
        compiled_dir = folder if size is None else folder / f"batch-{size}"
        make = partial(compile_model, source, compiled_dir, overwrite=True, listener=run)
        try:
            make(options)
        except FixedBatchError as error:
            if size is not None or set(request.speed.batch_sizes or ()) != {error.batch_size}:
                raise
            make(replace(options, batch_size=error.batch_size))
        folders.append(compiled_dir)
    return folders


def _choose_sizes(request: FullRun) -> Sequence[int | None]:
    """Return the batch sizes to compile for; None for a model that runs any."""
    if (
        find_engine(request.compile.engine).batch_sizes == "any"
        or "dynamic_batch_size" in request.compile.settings
    ):
        return [None]
    return sorted(set(request.speed.batch_sizes or DEFAULT_BATCH_SIZES))


def _resolve(request: FullRun, record: ModelRecord, precision: str, batch_size: int | None) -> CompileOptions:
    choice = replace(request.compile, precision=precision, batch_size=batch_size)
    engine = find_engine(choice.engine)
    if request.weights_key is not None and engine.source == "checkpoint":
        choice = replace(choice, settings={**choice.settings, WEIGHTS_KEY: request.weights_key})
    return engine.resolve(choice, record)


def _find_reference(request: FullRun, record: ModelRecord, float_dir: Path | None) -> Predictor | None:
    if request.compare_with_torch:
        return _make_torch_reference(request, record)
    if float_dir is None:
        return None
    compiled = read_compiled_json(float_dir)
    return make_predictor(float_dir, compiled, REFERENCE_FOLDER, task="Evaluating the float model")


def _make_torch_reference(request: FullRun, record: ModelRecord) -> Predictor:
    """Return what predicts by the original network in torch."""
    from assay.checkpoint.load import load_checkpoint
    from assay.engines.torch_engine import TorchEngine, TorchSession

    options = TorchEngine().resolve(CompileChoice(engine="torch"), record)
    checkpoint = load_checkpoint(request.weights, record, request.weights_key)
    return Predictor(
        name="torch",
        task="Torch",
        record=record,
        identity=["torch", checkpoint.sha256, *filter(None, [request.weights_key])],
        open_session=lambda: TorchSession(checkpoint.network, options),
        folder=REFERENCE_FOLDER,
        batch_size=REFERENCE_BATCH_SIZE,
    )
