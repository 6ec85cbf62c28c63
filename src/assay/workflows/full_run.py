"""The whole chain: checkpoint, ONNX file, compiled model, predictions, speed, report. Read this first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from assay.defaults import DEFAULT_BATCH_SIZES, DEFAULT_OPSET, DEVICE_TIMEOUT_S
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import WEIGHTS_KEY, CompileChoice, CompileOptions
from assay.engines.sources import is_quantised
from assay.errors import FixedBatchError, UsageError
from assay.images.calibration import DEFAULT_CALIBRATION, CalibrationOptions
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_labelled_images, store_index
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex
from assay.images.stored_index import INDEX_FILE
from assay.inference.shards import StoredPredictions, list_shard_files
from assay.measure.speed.repeats import RepeatPlan, check_plan
from assay.models.choose_record import choose_record
from assay.models.hugging_face.folder import find_model_file
from assay.models.model_file import check_model_path, is_model_file
from assay.models.record import ModelRecord
from assay.runs.folder import RunFolder, RunResult, open_run_folder
from assay.runs.listener import SILENT, Listener
from assay.runs.place import (
    CASCADE_FOLDER,
    COMPILED_FOLDER,
    FAST_FOLDER,
    FLOAT_FOLDER,
    INT8_FILE,
    ONNX_FILE,
    REFERENCE_FOLDER,
    RunPlace,
)
from assay.runs.results_file import Benchmark, Metrics
from assay.workflows.devices.compute_shards import use_devices_for
from assay.workflows.evaluate.batch_sizes import BEST, AskedBatch, BatchEvaluation, plan_batches
from assay.workflows.evaluate.evaluate import (
    EvaluateOptions,
    check_evaluation,
    evaluate_model,
    make_predictor,
    predict_beside,
)
from assay.workflows.evaluate.predict import Predictor
from assay.workflows.evaluate.reference import make_float_reference, make_torch_reference
from assay.workflows.models.cascade import (
    CascadeModels,
    check_image_count,
    check_max_different,
    choose_cascade,
    compose_cascade,
)
from assay.workflows.models.compile import compile_model
from assay.workflows.models.inspect_checkpoint import find_sources
from assay.workflows.results.gates import judge_run
from assay.workflows.results.report import write_report
from assay.workflows.speed.benchmark import benchmark_models, choose_samples

Compilations = tuple[list[CompileOptions], CompileOptions | None]  # see `resolve_compilations`


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a full run is made of.

    Args:
        weights: A checkpoint, or an ONNX file, which is then compiled as it is; or a folder of the Hugging
            Face hub that holds either.
        images: The images, with their labels.
        model: Name of a model record, or the path of one; empty for the one that the ONNX file carries
            or that is drawn from it, or, of a checkpoint, SE_ResNeXt50's.
        weights_key: Which set of weights of a checkpoint; None for the plain ones.
        opset: The ai.onnx opset of the export, 11 to 18.
        calibration: How an int8 model is calibrated; on some of `images` where it names none.
        compile: The engine, and how it compiles. Where the batch size is left open, the model runs any, or
            is compiled once for each of `speed` by an engine that fixes it.
        evaluation: How the images are predicted, and which gates the run must pass.
        compare_with_torch: Whether torch predicts the same images too.
        speed: How the speed is measured.
        accuracy_batches: Batch sizes at which all images are predicted, the first of them into the run's
            predictions, and `best` for the fastest VALID one of `speed`; empty for one that the model is
            compiled for, else 8.
        cascade_max_different: Makes a cascade of the int8 model and the float one, with so many different
            answers left at most, in percent of all images, and evaluates all three; None makes none.
        devices: Several devices that predict, and that speed is measured on, as `choose_devices_for` reads
            them; empty for the compiled model's own.
        device_timeout_s: How long one of those may take to load the model, or for a batch.
        remark: Stands at the head of the report.
    """

    weights: Path
    images: ImageRequest
    model: str = ""
    weights_key: str | None = None
    opset: int = DEFAULT_OPSET
    calibration: CalibrationOptions = DEFAULT_CALIBRATION
    compile: CompileChoice = field(default_factory=CompileChoice)
    evaluation: EvaluateOptions = field(default_factory=EvaluateOptions)
    compare_with_torch: bool = False
    speed: RepeatPlan = field(default_factory=RepeatPlan)
    accuracy_batches: tuple[AskedBatch, ...] = ()
    cascade_max_different: float | None = None
    devices: str = ""
    device_timeout_s: float = DEVICE_TIMEOUT_S
    remark: str = ""

    @property
    def is_exported(self) -> bool:
        """Whether an ONNX file is made of the weights."""
        return not self.has_onnx_weights and find_engine(self.compile.engine).source == "ONNX file"

    @property
    def has_onnx_weights(self) -> bool:
        """Whether the weights are an ONNX file, or an OpenVINO IR, and are compiled as they are."""
        return is_model_file(self.weights)

    @property
    def is_quantised_here(self) -> bool:
        """Whether an int8 model is made of a float one."""
        if self.compile.precision != "int8":
            return False
        return not (self.has_onnx_weights and is_quantised(self.weights))


def run_all(request: RunRequest, place: RunPlace, listener: Listener = SILENT) -> RunResult:
    """Carry out the whole chain into one run folder and return what it found.

    Raises:
        AssayError: Anything a user can cause; what was done until then is kept in the run folder.
    """
    calibration = request.calibration.images
    place.refuse_inputs(request.weights, *request.images.inputs, *(calibration.inputs if calibration else ()))
    record = choose_record(request.model, request.weights)
    folder, request = request.weights, replace(request, weights=find_model_file(request.weights))
    check_request(request)
    sources = [] if request.model else find_sources(folder, record, listener)
    compilations = resolve_compilations(request, record)
    several = use_devices_for(compilations[0][0], request.devices, request.device_timeout_s)
    if several is not None:
        evaluation = replace(request.evaluation, compute_shards=several.compute_shards)
        request = replace(request, evaluation=evaluation)
    classes = read_classes(record)
    index = index_labelled_images(request.images, classes, place.index)
    if request.cascade_max_different is not None:
        check_image_count(len(index.images))
    with open_run_folder(place, record.name, request.compile.engine, listener) as run:
        index = store_index(run.path / INDEX_FILE, index, request.images, classes)
        run.record_remark(request.remark)
        run.record_model_sources(sources)
        if sources and folder.is_dir():  # of a file, compiling says it
            run.announce(f"Note: the model record is drawn from {folder}: {'; '.join(sources)}")
        compiled_dirs, beside, float_dirs = _make_models(request, record, compilations, index, run)
        measured_dirs = [*compiled_dirs, *beside]
        samples = choose_samples(measured_dirs, record, index, run)
        plan = request.speed if len(compilations[0]) == 1 else replace(request.speed, batch_sizes=())

        def measure() -> Benchmark:
            groups = dict.fromkeys(measured_dirs, several.find_usable()) if several else {}
            return benchmark_models(measured_dirs, samples, [plan], run, devices=groups)

        benchmark = measure() if BEST in request.accuracy_batches else None  # which is the best?
        rows = benchmark.rows if benchmark else []
        batches = plan_batches(request.accuracy_batches, compiled_dirs, rows, run)
        reference = _choose_reference(request, record, float_dirs)
        metrics = _evaluate(request, compiled_dirs[-1], batches, index, run, reference)
        benchmark = benchmark or measure()
        gates = judge_run(run, request.evaluation.gates, metrics, benchmark)
    write_report(run.path, opens_urls=True)
    return RunResult(
        folder=run.path, manifest=run.manifest, metrics=metrics, benchmark=benchmark, gates=gates
    )


def _make_models(
    request: RunRequest, record: ModelRecord, compilations: Compilations, index: ImageIndex, run: RunFolder
) -> tuple[list[Path], list[Path], list[Path]]:
    """The folders of the compiled models that the run is of, of those beside them, and of float ones."""
    source = _export(request, record, index, run) if request.is_exported else request.weights
    own, beside = compilations
    float_dirs = _compile(source, run.path / FLOAT_FOLDER, [beside], request.speed, run) if beside else []
    if beside is not None:
        source = _quantise(request, record, source, index, run)
    compiled_dirs = _compile(source, run.path / COMPILED_FOLDER, own, request.speed, run)
    if request.cascade_max_different is None:
        return compiled_dirs, float_dirs, float_dirs
    models = CascadeModels(
        fast_dir=compiled_dirs[-1],
        exact_dir=float_dirs[0],
        max_different_percent=request.cascade_max_different,
    )
    return [_compose(models, index, run, request.evaluation)], [*compiled_dirs, *float_dirs], float_dirs


def _evaluate(
    request: RunRequest,
    compiled_dir: Path,
    batches: tuple[BatchEvaluation, ...],
    index: ImageIndex,
    run: RunFolder,
    reference: Predictor | None,
) -> Metrics | None:
    """Predict all images at the batch sizes that were asked for, else by the model at its own."""
    options = request.evaluation
    if batches:
        first = batches[0]
        compiled_dir = first.compiled_dir
        options = replace(options, batch_size=first.choice.batch_size, batches=batches)
    return evaluate_model(compiled_dir, index, run, options, reference)


def check_request(request: RunRequest) -> None:
    """Refuse, before any work, what cannot be done, and options that nothing would read.

    Raises:
        UsageError: Such options.
        BadModelError: The weights cannot be an ONNX file.
    """
    check_plan(request.speed)
    check_evaluation(request.evaluation)
    _check_batches(request)
    for flag, is_set in (
        ("--stop-when-certain", request.evaluation.stop_error is not None),
        ("--fresh-processes", request.speed.fresh_processes),
    ):
        if request.devices and is_set:
            raise UsageError(f"--devices and {flag} exclude each other", hint="leave one of them out")
    if request.has_onnx_weights:
        check_model_path(request.weights)
    if request.weights_key is not None and request.has_onnx_weights:
        raise UsageError(
            f"--weights-key {request.weights_key}: {request.weights} is an ONNX file, with one set of weights"
        )
    if request.compare_with_torch and request.has_onnx_weights:
        raise UsageError("--compare-with-torch needs a checkpoint", hint=f"{request.weights} is an ONNX file")
    if request.opset != DEFAULT_OPSET and not request.is_exported:
        raise UsageError("--opset has no effect: no ONNX file is made here", hint="leave it out")
    if request.calibration != DEFAULT_CALIBRATION and not request.is_quantised_here:
        raise UsageError(
            "--calibration, --calibration-count, --preset, --weight-range and --keep-float have no effect: "
            "no model is quantised here",
            hint="they go with --precision int8 and float weights",
        )
    if request.cascade_max_different is not None:
        _check_cascade(request, request.cascade_max_different)


def _check_cascade(request: RunRequest, max_different: float) -> None:
    check_max_different(max_different)
    if not request.is_quantised_here:
        raise UsageError(
            "--cascade has no effect: no model is quantised here",
            hint="it goes with --precision int8 and float weights; for compiled models: assay cascade",
        )
    for flag, is_set in (
        ("--compare-with-torch", request.compare_with_torch),
        ("--stop-when-certain", request.evaluation.stop_error is not None),
    ):
        if is_set:
            raise UsageError(f"--cascade and {flag} exclude each other", hint="leave one of them out")


def _check_batches(request: RunRequest) -> None:
    """Refuse batch sizes that no call would hold, and options that they contradict."""
    if not request.accuracy_batches:
        return
    sizes = [size for size in request.accuracy_batches if isinstance(size, int)]
    if min(sizes, default=1) < 1:
        raise UsageError(f"--accuracy-batch is {min(sizes)}; expected 1 or more, or best")
    if request.evaluation.stop_error is not None or request.evaluation.batch_size is not None:
        raise UsageError(
            "--accuracy-batch says at which batch sizes all images are run: not with --stop-when-certain, "
            "nor with a batch size of the evaluation",
            hint="leave one of them out",
        )
    measured = request.speed.batch_sizes or DEFAULT_BATCH_SIZES
    largest = max([*sizes, *(measured if BEST in request.accuracy_batches else ())])
    if request.evaluation.shard_size < largest:
        raise UsageError(
            f"--shard-size {request.evaluation.shard_size} is less than a batch of {largest}: no batch "
            "reaches over the end of a shard",
            hint="leave --shard-size out, or raise it",
        )


def resolve_compilations(request: RunRequest, record: ModelRecord) -> Compilations:
    """How the model is compiled, once or for each batch size, and the float model beside an int8 one.

    Raises:
        UsageError: An unknown engine, or what it does not declare.
        MissingRuntimeError: Its runtime or device is not there.
    """
    engine, choice = find_engine(request.compile.engine), request.compile
    if request.weights_key is not None and engine.source == "checkpoint":
        choice = replace(choice, settings={**choice.settings, WEIGHTS_KEY: request.weights_key})
    choices = [replace(choice, batch_size=size) for size in _choose_batch_sizes(request)]
    compilations = [engine.resolve(choice, record) for choice in choices]
    if not request.is_quantised_here:
        return compilations, None
    return compilations, engine.resolve(replace(choices[-1], precision="fp32"), record)


def _choose_batch_sizes(request: RunRequest) -> Sequence[int | None]:
    """The batch sizes to compile for; None for a model that runs any."""
    choice, measured = request.compile, request.speed.batch_sizes
    asked = {size for size in request.accuracy_batches if isinstance(size, int)}
    if choice.batch_size is not None:
        if others := {*measured, *asked} - {choice.batch_size}:
            raise UsageError(
                f"a model for batches of {choice.batch_size} is not measured at {sorted(others)}"
            )
        return [choice.batch_size]
    if find_engine(choice.engine).batch_sizes == "any" or "dynamic_batch_size" in choice.settings:
        return [None]
    return sorted({*(measured or DEFAULT_BATCH_SIZES), *asked})


def _export(request: RunRequest, record: ModelRecord, index: ImageIndex, run: RunFolder) -> Path:
    """Make the ONNX file of the checkpoint."""
    from assay.workflows.models.export import PARITY_IMAGE_COUNT, ExportOptions, export_checkpoint

    samples = load_sample_images(record, index, PARITY_IMAGE_COUNT, run.announce)
    options = ExportOptions(opset=request.opset, weights_key=request.weights_key)
    exported = export_checkpoint(request.weights, run.path / ONNX_FILE, record, samples, run, options)
    run.record_export(request.weights.name, exported.weights_sha256, exported.opset, exported.parity)
    run.record_weights_key(exported.weights_key)
    return exported.onnx_path


def _quantise(
    request: RunRequest, record: ModelRecord, onnx_path: Path, index: ImageIndex, run: RunFolder
) -> Path:
    """Make the int8 ONNX file; one of the same file and images is used again."""
    from assay.workflows.models.quantize import quantize_file

    options = request.calibration
    if options.images is None:  # a limit is for the images that are scored
        options = replace(options, images=replace(request.images, limit=None))
        if request.cascade_max_different is not None:  # what it leaves is counted on images not calibrated on
            options = replace(options, image_count=min(options.image_count, max(1, len(index.images) // 2)))
    made = quantize_file(onnx_path, run.path / INT8_FILE, record, options, run)
    run.record_calibration(made)
    return run.path / INT8_FILE


def _compose(models: CascadeModels, index: ImageIndex, run: RunFolder, options: EvaluateOptions) -> Path:
    """Predict the images by both models, and make the cascade whose threshold that decides."""
    folders = ((models.fast_dir, FAST_FOLDER), (models.exact_dir, REFERENCE_FOLDER))
    for compiled_dir, folder in folders:
        predictor = make_predictor(compiled_dir, read_compiled_json(compiled_dir), folder)
        predict_beside(predictor, index, run, options)
    shards = list_shard_files(len(index.images), options.shard_size)
    fast, exact = (
        list(StoredPredictions(paths=[run.path / folder / name for name in shards])) for _, folder in folders
    )
    record = choose_cascade(models, index, fast, exact)
    compose_cascade(models, run.path / CASCADE_FOLDER, record)
    return run.path / CASCADE_FOLDER


def _compile(
    source: Path,
    folder: Path,
    compilations: Sequence[CompileOptions],
    plan: RepeatPlan,
    run: RunFolder,
) -> list[Path]:
    """The compiled models: in the folder, or in one of it for each batch size.

    A network that runs batches of one size only is compiled for that where speed is measured at that alone.
    """
    compiled_dirs = []
    for options in compilations:
        compiled_dir = folder if options.batch_size is None else folder / f"batch-{options.batch_size}"
        make = partial(compile_model, source, compiled_dir, overwrite=True, listener=run)
        try:
            make(options)
        except FixedBatchError as error:
            if options.batch_size is not None or set(plan.batch_sizes) != {error.batch_size}:
                raise
            make(replace(options, batch_size=error.batch_size))
        compiled_dirs.append(compiled_dir)
    return compiled_dirs


def _choose_reference(
    request: RunRequest, record: ModelRecord, float_dirs: Sequence[Path]
) -> Predictor | None:
    if request.compare_with_torch:
        return make_torch_reference(request.weights, record, request.weights_key)
    return make_float_reference(float_dirs[0]) if float_dirs else None
