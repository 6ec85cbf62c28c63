"""assay from Python: a function for each thing that the command line does, and the run it returns.

Everything here is reached as `assay.NAME`; docs/reference/python.md lists it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assay.defaults import DEFAULT_MARGIN_POINTS, DEVICE_TIMEOUT_S
from assay.engines.cascade.record import CascadeRecord
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.engine import CompileChoice
from assay.files import refuse_same_file
from assay.images.calibration import CalibrationOptions
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sample_images import load_sample_images
from assay.measure.gates import Gate
from assay.models.calibration import CalibrationRecord
from assay.models.choose_record import choose_record
from assay.opened_run import Run, find_folder
from assay.report.inspection import Inspection
from assay.runs.listener import SILENT, Listener
from assay.runs.place import Mode, RunPlace
from assay.workflows.devices.choose import choose_devices
from assay.workflows.devices.compute_shards import SeveralDevices
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.predict import ComputeShards
from assay.workflows.evaluate.predict_images import PredictedFile, PredictRequest, predict_images
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.full_run import RunRequest, run_all
from assay.workflows.models.cascade import CascadeModels, make_cascade
from assay.workflows.models.compile import compile_model
from assay.workflows.models.export import (
    PARITY_IMAGE_COUNT,
    ExportedModel,
    ExportOptions,
    export_checkpoint,
)
from assay.workflows.models.inspect import inspect_model
from assay.workflows.models.quantize import quantize_file
from assay.workflows.results.compare import RunComparison, compare_runs
from assay.workflows.speed.run_benchmark import BenchmarkRequest, run_benchmark


def run(
    request: RunRequest, output: Path | str | None = None, *, mode: Mode = "new", listener: Listener = SILENT
) -> Run:
    """Do everything: export, compile, evaluate, benchmark, report, as `assay run`.

    Args:
        request: What is run.
        output: The run folder; a new one in `runs/` if None.
        mode: What happens to a run that is there already: `new` refuses, `resume` continues it,
            `overwrite` replaces it.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: Anything a user can cause; what was done until then is kept in the run folder.
    """
    return Run(run_all(request, _choose_place(output, mode), listener).folder)


def evaluate(
    compiled: Path | str,
    images: ImageRequest,
    output: Path | str | None = None,
    *,
    options: EvaluateOptions | None = None,
    mode: Mode = "new",
    listener: Listener = SILENT,
) -> Run:
    """Predict every image with a compiled model, and score the predictions, as `assay evaluate`.

    Args:
        compiled: The compiled model's folder.
        images: Which images, with which labels.
        output: The run folder; a new one in `runs/` if None.
        options: Batch size, shard size, gates, …; `compute_shards` of `use_devices` for several devices.
        mode: As in `run`.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    place = _choose_place(output, mode)
    return Run(run_evaluation(Path(compiled), images, options or EvaluateOptions(), place, listener).folder)


def use_devices(devices: str, compiled: Path | str, timeout_s: float = DEVICE_TIMEOUT_S) -> ComputeShards:
    """What predicts on several devices of this machine, a process for each, as `assay evaluate --devices`.

    Args:
        devices: Their numbers, such as `0,1` or `cuda:0-7`, or `all`.
        compiled: The folder of the compiled model that is to be run.
        timeout_s: How long a device may take to load the model, or for a batch, before it counts as hanging.

    Raises:
        AssayError: No such devices.
    """
    return SeveralDevices(group=choose_devices(devices, Path(compiled), timeout_s)).compute_shards


def predict(
    compiled_dir: Path | str,
    images: ImageRequest,
    output: Path | str,
    *,
    devices: str = "",
    mode: Mode = "new",
    listener: Listener = SILENT,
) -> PredictedFile:
    """What a compiled model says of images without labels, in one file, as `assay predict`.

    Args:
        compiled_dir: The compiled model.
        images: The images; their labels are not looked at.
        output: The file to write: .csv, .jsonl or .parquet.
        devices: Several devices to predict on, as `use_devices` takes them; empty for the model's own.
        mode: What happens to a file that is there, or to what is left of one.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    request = PredictRequest(images=images, output=Path(output), mode=mode)
    if devices:
        request = replace(request, compute_shards=use_devices(devices, compiled_dir))
    return predict_images(Path(compiled_dir), request, listener)


def benchmark(
    compiled: Sequence[Path | str] | Path | str,
    output: Path | str | None = None,
    *,
    request: BenchmarkRequest | None = None,
    mode: Mode = "new",
    listener: Listener = SILENT,
) -> Run:
    """Measure images per second and latency of compiled models, as `assay benchmark`.

    Args:
        compiled: The folder of a compiled model, or several of one model record.
        output: The run folder; a new one in `runs/` if None.
        request: Batch sizes, repeats, callers, gates, …
        mode: As in `run`.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    folders = [compiled] if isinstance(compiled, (Path, str)) else compiled
    place = _choose_place(output, mode)
    done = run_benchmark([Path(one) for one in folders], request or BenchmarkRequest(), place, listener)
    return Run(done.folder)


def compare(
    reference: Run | Path | str,
    candidate: Run | Path | str,
    *,
    margin_points: float = DEFAULT_MARGIN_POINTS,
    gates: Sequence[Gate] = (),
) -> RunComparison:
    """Compare a run with another image by image, as `assay compare`.

    Args:
        reference: The run, or its folder, that the candidate is compared with.
        candidate: The run that is judged.
        margin_points: The largest loss of Top-1 that does not matter, in percentage points, over 0.
        gates: What the candidate must show.

    Raises:
        UsageError: A run without finished predictions, or a margin that is not over 0.
        BadInputError: The runs cannot be compared: no image in common, other labels, other classes.
    """
    return compare_runs(find_folder(reference), find_folder(candidate), margin_points, gates)


def export(
    weights: Path | str,
    onnx_file: Path | str,
    *,
    model: str = "",
    images: ImageRequest | None = None,
    options: ExportOptions | None = None,
    listener: Listener = SILENT,
) -> ExportedModel:
    """Checkpoint to ONNX file, which appears only when its logits agree with torch's, as `assay export`.

    Args:
        weights: A .pth or .safetensors file.
        onnx_file: The file to write; one that is there is replaced.
        model: Name of a model record, or the path of one; empty for the built-in one.
        images: What the two are compared on; drawn images if None.
        options: The opset, and which set of weights of the file.
        listener: Hears what is done.

    Raises:
        AssayError: As `run`; GateFailedError where the logits differ by more than 1e-3.
    """
    record = choose_record(model, Path(weights))
    index = index_requested_images(images, read_classes(record)) if images else None
    samples = load_sample_images(record, index, PARITY_IMAGE_COUNT, listener.announce)
    return export_checkpoint(
        Path(weights), Path(onnx_file), record, samples, listener, options or ExportOptions()
    )


def quantize(
    onnx_file: Path | str,
    int8_file: Path | str,
    *,
    calibration: CalibrationOptions,
    model: str = "",
    listener: Listener = SILENT,
) -> CalibrationRecord:
    """Float ONNX file to an int8 one, with the record of its calibration beside it, as `assay quantize`.

    Args:
        onnx_file: The float ONNX file.
        int8_file: The file to write.
        calibration: Which images, how many of them, which layers stay in float.
        model: Name of a model record, or the path of one; empty for the one stored in the ONNX file.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    record = choose_record(model, Path(onnx_file))
    return quantize_file(Path(onnx_file), Path(int8_file), record, calibration, listener)


def compile(
    source: Path | str,
    folder: Path | str,
    *,
    model: str = "",
    choice: CompileChoice | None = None,
    overwrite: bool = False,
    listener: Listener = SILENT,
) -> CompiledModel:
    """ONNX file to compiled model, as `assay compile`.

    Args:
        source: An ONNX file, or for the engine `torch` a checkpoint.
        folder: The folder to write.
        model: Name of a model record, or the path of one, which travels in the compiled model; empty for
            the one stored in the ONNX file.
        choice: Engine, device, precision, batch size, settings.
        overwrite: Whether another compiled model in the folder is replaced.
        listener: Hears what is done.

    Raises:
        AssayError: As `run`.
    """
    choice = choice or CompileChoice()
    options = find_engine(choice.engine).resolve(choice, choose_record(model, Path(source)))
    return compile_model(Path(source), Path(folder), options, overwrite=overwrite, listener=listener)


def cascade(
    models: CascadeModels,
    folder: Path | str,
    images: ImageRequest,
    *,
    overwrite: bool = False,
    listener: Listener = SILENT,
) -> CascadeRecord:
    """Two compiled models of one network to one, as `assay cascade`.

    Args:
        models: The two, and how many answers other than the exact one's may be left.
        folder: The folder to write; it holds copies of both.
        images: What the threshold is chosen on, and what it leaves counted; labels are not needed.
        overwrite: Whether another compiled model in the folder is replaced.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    refuse_same_file(Path(folder), models.fast_dir, models.exact_dir, *images.inputs)
    index = index_requested_images(images, read_classes(read_compiled_json(models.exact_dir).model))
    return make_cascade(models, Path(folder), index, overwrite=overwrite, listener=listener)


def inspect(
    model: Path | str,
    *,
    like: str = "",
    lines: Sequence[str] = (),
    record_path: Path | str | None = None,
) -> Inspection:
    """What a model file says of itself, and the record that would be used, as `assay inspect`.

    Args:
        model: An ONNX file, an OpenVINO IR's .xml, or a checkpoint; nothing of it runs.
        like: Name or path of a record that knows the preprocessing and the classes; empty for none.
        lines: Lines of the record, as `preprocessing.resize_side=256`.
        record_path: Where the record is written as TOML; None for nowhere.

    Raises:
        AssayError: As `run`.
    """
    place = None if record_path is None else Path(record_path)
    return inspect_model(Path(model), like=like, given=lines, record_path=place)


def _choose_place(output: Path | str | None, mode: Mode) -> RunPlace:
    return RunPlace(path=None if output is None else Path(output), mode=mode)
