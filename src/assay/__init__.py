"""assay: is the deployed classifier as accurate as it was, and how fast is it?

The names in `__all__` are the API, as docs/reference/python.md has it. Each is imported when it is
first used: `import assay` imports nothing else. `__init__.pyi` tells type checkers the same.
"""

import importlib
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is loaded, which else reports its use (1.31)

__version__ = "0.2.0"
_MODULES = {
    "assay.api": "benchmark cascade compare compile evaluate export inspect predict quantize run use_devices",
    "assay.engines.cascade.record": "CascadeRecord",
    "assay.engines.compiled_model": "CompiledModel",
    "assay.engines.engine": "CompileChoice",
    "assay.errors": "AssayError BadCheckpointError BadImagesError BadInputError BadModelError EngineError "
    "GateFailedError MissingRuntimeError SourceError UsageError",
    "assay.images.calibration": "CalibrationOptions",
    "assay.images.label_files": "LabelOptions",
    "assay.images.listing": "ReadOptions",
    "assay.images.request": "ImageRequest",
    "assay.measure.accuracy.accuracy": "Accuracy ClassAccuracy TopKAccuracy",
    "assay.measure.accuracy.comparison": "Comparison Flip",
    "assay.measure.accuracy.verdict": "Verdict",
    "assay.measure.gates": "Gate GateResult parse_gate",
    "assay.measure.speed.repeats": "RepeatPlan",
    "assay.measure.speed.throughput": "ThroughputRow",
    "assay.models.calibration": "CalibrationRecord",
    "assay.models.find_models": "ModelEntry",
    "assay.models.read_record": "read_model_record",
    "assay.models.record": "ModelRecord",
    "assay.opened_run": "Run open_run",
    "assay.report.inspection": "Inspection",
    "assay.runs.listener": "Listener Progress",
    "assay.runs.results_file": "Benchmark Manifest Metrics",
    "assay.workflows.evaluate.evaluate": "EvaluateOptions",
    "assay.workflows.evaluate.predict_images": "PredictedFile",
    "assay.workflows.full_run": "RunRequest",
    "assay.workflows.models.cascade": "CascadeModels",
    "assay.workflows.models.export": "ExportedModel ExportOptions",
    "assay.workflows.models.list_models": "list_models",
    "assay.workflows.results.compare": "RunComparison",
    "assay.workflows.speed.run_benchmark": "BenchmarkRequest",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'assay' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
