"""The API as type checkers see it; `__init__.py` imports each name when it is first used."""

from assay.api import Run as Run
from assay.api import benchmark as benchmark
from assay.api import compare as compare
from assay.api import compile as compile
from assay.api import evaluate as evaluate
from assay.api import export as export
from assay.api import open_run as open_run
from assay.api import quantize as quantize
from assay.api import run as run
from assay.engines.compiled_model import CompiledModel as CompiledModel
from assay.engines.engine import CompileChoice as CompileChoice
from assay.errors import AssayError as AssayError
from assay.errors import BadCheckpointError as BadCheckpointError
from assay.errors import BadImagesError as BadImagesError
from assay.errors import BadInputError as BadInputError
from assay.errors import BadModelError as BadModelError
from assay.errors import EngineError as EngineError
from assay.errors import GateFailedError as GateFailedError
from assay.errors import MissingRuntimeError as MissingRuntimeError
from assay.errors import SourceError as SourceError
from assay.errors import UsageError as UsageError
from assay.images.calibration import CalibrationOptions as CalibrationOptions
from assay.images.label_files import LabelOptions as LabelOptions
from assay.images.listing import ReadOptions as ReadOptions
from assay.images.request import ImageRequest as ImageRequest
from assay.measure.accuracy.accuracy import Accuracy as Accuracy
from assay.measure.accuracy.accuracy import ClassAccuracy as ClassAccuracy
from assay.measure.accuracy.accuracy import TopKAccuracy as TopKAccuracy
from assay.measure.accuracy.comparison import Comparison as Comparison
from assay.measure.accuracy.comparison import Flip as Flip
from assay.measure.accuracy.comparison import Verdict as Verdict
from assay.measure.gates import Gate as Gate
from assay.measure.gates import GateResult as GateResult
from assay.measure.gates import parse_gate as parse_gate
from assay.measure.speed.repeats import RepeatPlan as RepeatPlan
from assay.measure.speed.throughput import ThroughputRow as ThroughputRow
from assay.models.calibration import CalibrationRecord as CalibrationRecord
from assay.models.find_models import ModelEntry as ModelEntry
from assay.models.read_record import read_model_record as read_model_record
from assay.models.record import ModelRecord as ModelRecord
from assay.runs.listener import Listener as Listener
from assay.runs.listener import Progress as Progress
from assay.runs.results_file import Benchmark as Benchmark
from assay.runs.results_file import Manifest as Manifest
from assay.runs.results_file import Metrics as Metrics
from assay.workflows.evaluate.evaluate import EvaluateOptions as EvaluateOptions
from assay.workflows.full_run import RunRequest as RunRequest
from assay.workflows.models.export import ExportedModel as ExportedModel
from assay.workflows.models.export import ExportOptions as ExportOptions
from assay.workflows.models.list_models import list_models as list_models
from assay.workflows.results.compare import RunComparison as RunComparison
from assay.workflows.speed.run_benchmark import BenchmarkRequest as BenchmarkRequest

__version__: str
__all__: list[str]
