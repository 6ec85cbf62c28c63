"""The engines by name; each is imported when it is asked for, with its runtime."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import Engine, PixelEngine, Session
from assay.errors import UsageError, missing_package

DEFAULT_ENGINE = "openvino"

_CLASSES = {
    "openvino": "assay.engines.openvino.engine:OpenVinoEngine",
    "onnxruntime": "assay.engines.onnxruntime.engine:OnnxRuntimeEngine",
    "torch": "assay.engines.torch_engine:TorchEngine",
    "ascend": "assay.engines.ascend.engine:AscendEngine",
    "constant": "assay.engines.constant_engine:ConstantEngine",
}
_EXTRAS = {"onnxruntime": "onnxruntime", "torch": "export"}
HOW_TO_GET = {
    "openvino": "comes with assay",
    "onnxruntime": "pip install 'assay[onnxruntime]'; for other devices their own wheel instead",
    "torch": "pip install 'assay[export]'",
    "ascend": "CANN's toolkit, and the aclruntime and ais_bench wheels, from Huawei",
    "constant": "comes with assay",
}
"""The extra of assay that brings an engine's package, for engines that are not in the base."""


def list_engine_names() -> list[str]:
    """Return the names of the engines, the default one first."""
    return list(_CLASSES)


def find_engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        UsageError: No engine has that name.
        MissingRuntimeError: Its package is not installed.
    """
    if name not in _CLASSES:
        close = difflib.get_close_matches(name, _CLASSES, n=1)
        raise UsageError(
            f"no engine is called {name!r}",
            hint=f"did you mean {close[0]}?" if close else f"known: {', '.join(_CLASSES)}",
        )
    module_name, class_name = _CLASSES[name].split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if name not in _EXTRAS:
            raise
        raise missing_package(error.name or name, _EXTRAS[name]) from error
    engine: Engine = getattr(module, class_name)()
    return engine


def load_session(compiled_dir: Path) -> Session:
    """Return a session of the compiled model for images, by the engine that `compiled.json` names."""
    return find_engine(read_compiled_json(compiled_dir).engine).load(compiled_dir)


def load_for_evaluation(compiled_dir: Path) -> Session:
    """Return a session for pictures: it takes pixels where the compiled model can, else images."""
    engine = find_engine(read_compiled_json(compiled_dir).engine)
    if isinstance(engine, PixelEngine):
        return engine.load_for_pixels(compiled_dir)
    return engine.load(compiled_dir)
