"""The whole chain: checkpoint, ONNX file, compiled model, predictions, speed, report. Read this first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.engines.base import CompiledModel, CompileOptions, Session
from assay.engines.catalog import DEFAULT_ENGINE, find_engine
from assay.images.label_files import NO_LABEL_FILE, LabelOptions
from assay.images.listing import DEFAULT_READ_OPTIONS, ReadOptions
from assay.images.sources import ImageIndex, index_images, require_labels
from assay.inference.shards import DEFAULT_SHARD_SIZE
from assay.models.record import ModelRecord, read_model_record
from assay.workflows.benchmark import benchmark_models
from assay.workflows.compile import compile_model
from assay.workflows.evaluate import EvaluateOptions, evaluate_model
from assay.workflows.listener import SILENT, Listener
from assay.workflows.report import write_report
from assay.workflows.run_folder import (
    COMPILED_FOLDER,
    ONNX_FILE,
    RunFolder,
    RunPlace,
    RunResult,
    open_run_folder,
)
from assay.workflows.sample_images import load_sample_images

PARITY_IMAGE_COUNT = 4
BENCHMARK_IMAGE_COUNT = 16


@dataclass(frozen=True, kw_only=True)
class FullRun:
    """What a full run is made of.

    Args:
        weights: A checkpoint, or an ONNX file, which is then compiled as it is.
        images: The folder of images.
        labels: The label file, if there is one.
        reading: How images are read.
        model: Name of a model record, or the path of one.
        engine: Name of an engine.
        precision: What the network is computed in.
        device: Device of the engine; empty means its first.
        batch_sizes: What the speed is measured at; None means 1, 4, 8, 16, 32 and 64.
        opset: The ai.onnx opset of the export, 11 to 18.
        shard_size: Images whose predictions share a file.
        keep_logits: Whether the predictions hold all logits.
        compare_with_torch: Whether torch predicts the same images too.
        remark: Stands at the head of the report.
    """

    weights: Path
    images: Path
    labels: LabelOptions = NO_LABEL_FILE
    reading: ReadOptions = DEFAULT_READ_OPTIONS
    model: str = "se_resnext50_32x4d"
    engine: str = DEFAULT_ENGINE
    precision: str = "fp32"
    device: str = ""
    batch_sizes: tuple[int, ...] | None = None
    opset: int = 18
    shard_size: int = DEFAULT_SHARD_SIZE
    keep_logits: bool = False
    compare_with_torch: bool = False
    remark: str = ""


def run_all(request: FullRun, place: RunPlace, listener: Listener = SILENT) -> RunResult:
    """Carry out the whole chain into one run folder and return what it found.

    Raises:
        AssayError: Anything a user can cause; what was done until then is kept in the run folder.
    """
    record = read_model_record(request.model)
    find_engine(request.engine)  # an unknown one is refused before any work
    index = index_images(request.images, record.label_count, request.labels, request.reading)
    require_labels(index, request.images, record.label_count)
    with open_run_folder(place, record.name, request.engine, listener) as run:
        run.manifest.remark = request.remark
        onnx_path = _export(request, record, index, run)
        compiled_dir = run.path / COMPILED_FOLDER
        _compile(request, record, onnx_path, compiled_dir, run)
        options = EvaluateOptions(
            shard_size=request.shard_size, keep_logits=request.keep_logits, reading=request.reading
        )
        reference = _load_reference(request, record)
        metrics = evaluate_model(compiled_dir, index, request.images, run, options, reference)
        samples = load_sample_images(record, index, BENCHMARK_IMAGE_COUNT)
        benchmark = benchmark_models([compiled_dir], samples, request.batch_sizes, run)
    write_report(run.path)
    return RunResult(folder=run.path, manifest=run.manifest, metrics=metrics, benchmark=benchmark)


def _export(request: FullRun, record: ModelRecord, index: ImageIndex, run: RunFolder) -> Path:
    """Return the path of the ONNX file: the one that was given, or one made of the checkpoint."""
    if request.weights.suffix.lower() == ".onnx":
        return request.weights
    from assay.workflows.export import export_checkpoint

    samples = load_sample_images(record, index, PARITY_IMAGE_COUNT)
    exported = export_checkpoint(request.weights, run.path / ONNX_FILE, record, request.opset, samples, run)
    run.manifest.opset = exported.opset
    run.manifest.logit_parity = exported.parity
    run.manifest.hashes[request.weights.name] = exported.weights_sha256
    return exported.onnx_path


def _compile(
    request: FullRun, record: ModelRecord, onnx_path: Path, compiled_dir: Path, run: RunFolder
) -> CompiledModel:
    options = CompileOptions(record=record, precision=request.precision, device=request.device)
    return compile_model(onnx_path, compiled_dir, request.engine, options, overwrite=True, listener=run)


def _load_reference(request: FullRun, record: ModelRecord) -> Session | None:
    if not request.compare_with_torch:
        return None
    from assay.checkpoint.load import load_checkpoint
    from assay.checkpoint.reference import ReferenceSession

    return ReferenceSession(load_checkpoint(request.weights, record).network)
