"""assay from Python: a function for each thing that the command line does, and the run it returns.

Everything here is reached as `assay.NAME`; docs/reference/python.md lists it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow

from assay.defaults import DEFAULT_MARGIN_POINTS
from assay.engines.cascade.record import CascadeRecord
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.engine import CompileChoice
from assay.files import refuse_same_file
from assay.images.calibration import CalibrationOptions
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sample_images import load_sample_images
from assay.measure.accuracy.accuracy import Accuracy, ClassAccuracy
from assay.measure.accuracy.comparison import Flip
from assay.measure.gates import Gate, GateResult
from assay.models.calibration import CalibrationRecord
from assay.models.choose_record import choose_record
from assay.report.inspection import Inspection
from assay.report.named_run import NamedRun
from assay.report.notebook import WorstImages, render_run
from assay.runs.class_names import find_classes
from assay.runs.listener import SILENT, Listener
from assay.runs.place import Mode, RunPlace
from assay.runs.results_file import Benchmark, Manifest, Metrics, RunFiles, read_run_files
from assay.runs.stored import StoredRun
from assay.workflows.evaluate.evaluate import EvaluateOptions
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
from assay.workflows.results.answers import read_answers
from assay.workflows.results.compare import RunComparison, compare_runs
from assay.workflows.results.gallery import collect_worst
from assay.workflows.speed.run_benchmark import BenchmarkRequest, run_benchmark


@dataclass(frozen=True)
class Run:
    """A run folder, read when it is asked.

    Args:
        path: The folder.
    """

    path: Path

    @cached_property
    def files(self) -> RunFiles:
        """What its JSON files say, in whatever state the run is.

        Raises:
            BadInputError: The folder holds no run, or one of its files cannot be read.
        """
        return read_run_files(self.path)

    @property
    def manifest(self) -> Manifest:
        """`manifest.json`: what was run, on what, with what, and how it ended."""
        return self.files.manifest

    @property
    def metrics(self) -> Metrics | None:
        """`metrics.json`; None where accuracy was not measured."""
        return self.files.metrics

    @property
    def accuracy(self) -> Accuracy | None:
        """Counts, percentages and 95 % intervals; None where accuracy was not measured."""
        return self.metrics.accuracy if self.metrics else None

    @property
    def per_class(self) -> tuple[ClassAccuracy, ...]:
        """The accuracy of each class that has images; empty where accuracy was not measured."""
        return tuple(self.metrics.per_class) if self.metrics else ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the model's classes are called, by label; empty where nobody named them."""
        return find_classes(self.manifest).names

    @property
    def benchmark(self) -> Benchmark | None:
        """`benchmark.json`: images per second and latency; None where speed was not measured."""
        return self.files.benchmark

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What each gate says of the run."""
        return tuple(self.manifest.gates)

    @property
    def predictions(self) -> pyarrow.Table:
        """One row for each image, in the order of the run; `.to_pandas()` where pandas is installed.

        The columns are those of docs/reference/run-folder.md, and `class`, `class_name`, `label_name`,
        `correct`, `probability` and `margin`, as docs/reference/python.md has them.

        Raises:
            UsageError: The run predicts no images, or not all of them are predicted.
        """
        return read_answers(StoredRun.open(self.path))

    def worst(self, count: int = 10) -> WorstImages:
        """The images that the run has wrong and is surest of, which Jupyter shows as pictures.

        Args:
            count: So many at most, from 1.

        Raises:
            UsageError: The run predicts no images, or not all of them are predicted.
        """
        return collect_worst(StoredRun.open(self.path), count)

    def _repr_html_(self) -> str:
        """What Jupyter shows: the verdict, and at most two charts."""
        files = self.files
        named = NamedRun(name="", manifest=files.manifest, metrics=files.metrics, benchmark=files.benchmark)
        return render_run(named)

    def flips(self, reference: Run | Path | str) -> tuple[Flip, ...]:
        """The images whose Top-1 is right in one of the two runs only: the lost ones first, then the won.

        Args:
            reference: The run that this one is compared with, over the same images.

        Raises:
            UsageError: One of the two has no finished predictions.
            BadInputError: They cannot be compared: no image in common, other labels, other classes.
        """
        found = compare(reference, self).comparison
        return (*found.lost, *found.won)


def open_run(path: Path | str) -> Run:
    """The run in a folder, in whatever state it is.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    run = Run(Path(path))
    run.files  # noqa: B018 - a folder without a run is refused now, not at the first figure
    return run


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
        options: Batch size, shard size, gates, …
        mode: As in `run`.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    place = _choose_place(output, mode)
    return Run(run_evaluation(Path(compiled), images, options or EvaluateOptions(), place, listener).folder)


def predict(
    compiled_dir: Path | str,
    images: ImageRequest,
    output: Path | str,
    *,
    mode: Mode = "new",
    listener: Listener = SILENT,
) -> PredictedFile:
    """What a compiled model says of images without labels, in one file, as `assay predict`.

    Args:
        compiled_dir: The compiled model.
        images: The images; their labels are not looked at.
        output: The file to write: .csv, .jsonl or .parquet.
        mode: What happens to a file that is there, or to what is left of one.
        listener: Hears what is done, and how far it is.

    Raises:
        AssayError: As `run`.
    """
    request = PredictRequest(images=images, output=Path(output), mode=mode)
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
    return compare_runs(_find_folder(reference), _find_folder(candidate), margin_points, gates)


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


def _find_folder(run: Run | Path | str) -> Path:
    return run.path if isinstance(run, Run) else Path(run)
