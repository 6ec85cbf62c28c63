"""The engines by name, assay's own and those from outside; each is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileOptions, DeviceLoader, Engine, NumberedEngine, PixelEngine, Session
from assay.engines.outside import describe_version, list_outside, load_outside
from assay.errors import MissingRuntimeError, UsageError, missing_package, quote


@dataclass(frozen=True, kw_only=True)
class EngineEntry:
    """Where an engine's class is, and how its runtime is had.

    Args:
        place: The module below `assay.engines` and the class, with a colon between them.
        extra: The extra of assay that brings the runtime; empty where the base does, or no extra can.
        how_to_get: In a line, for `assay engines`.
    """

    place: str
    extra: str = ""
    how_to_get: str = "comes with assay"


ENGINES = {
    "openvino": EngineEntry(place="openvino.engine:OpenVinoEngine"),
    "onnxruntime": EngineEntry(
        place="onnxruntime.engine:OnnxRuntimeEngine",
        extra="onnxruntime",
        how_to_get="pip install 'assay[onnxruntime]'; for other devices their own wheel instead",
    ),
    "torch": EngineEntry(
        place="torch.engine:TorchEngine", extra="export", how_to_get="pip install 'assay[export]'"
    ),
    "ascend": EngineEntry(
        place="ascend.engine:AscendEngine",
        how_to_get="CANN's toolkit, and the aclruntime and ais_bench wheels, from Huawei",
    ),
    "constant": EngineEntry(place="constant_engine:ConstantEngine"),
}
"""The engines by name, the default one first."""
COMPOSED = {"cascade": EngineEntry(place="cascade.engine:CascadeEngine")}
"""Those that compile nothing: they load what a command of their own makes of compiled models."""

MEANT = {
    "acl": "ascend",
    "cuda": "torch or onnxruntime",
    "gpu": "torch or onnxruntime",
    "npu": "ascend",
    "om": "ascend",
    "onnx": "onnxruntime",
    "ort": "onnxruntime",
    "ov": "openvino",
    "pytorch": "torch",
    "tensorrt": "onnxruntime",
    "trt": "onnxruntime",
}
"""What other tools call it."""


def find_engine(name: str) -> Engine:
    """The engine of that name, with its runtime imported.

    Raises:
        UsageError: No engine has that name.
        MissingRuntimeError: Its package is not installed, or it is from outside and cannot be used.
    """
    entry = (ENGINES | COMPOSED).get(name)
    if entry is None:
        return _find_outside(name)
    module_name, class_name = entry.place.split(":")
    try:
        module = importlib.import_module(f"assay.engines.{module_name}")
    except ModuleNotFoundError as error:
        package = error.name or name
        if package.startswith("assay."):
            raise
        if entry.extra:
            raise missing_package(package, entry.extra) from error
        raise MissingRuntimeError(
            f"engine {name} needs the package {package}, which is not installed",
            hint=f"pip install {package}, or choose another --engine",
        ) from error
    engine: Engine = getattr(module, class_name)()
    return engine


def _find_outside(name: str) -> Engine:
    points = list_outside(name).get(name)
    if points:
        return load_outside(points)
    known = [*ENGINES, *list_outside()]
    close = MEANT.get(name.lower()) or next(iter(difflib.get_close_matches(name.lower(), known, n=1)), "")
    meant = f"did you mean {close}? " if close else ""
    raise UsageError(
        f"no engine is called {quote(name)}",
        hint=f"{meant}known: {', '.join(known)}; assay engines says which run here",
    )


def identify_outside(name: str) -> str:
    """What of an engine from outside decides its answers: see `describe_version`; empty for assay's own."""
    return "" if name in ENGINES | COMPOSED else describe_version(find_engine(name))


def find_numbered(options: CompileOptions) -> NumberedEngine | None:
    """The engine of a model, where it tells several devices of the model's kind apart by their numbers."""
    engine = find_engine(options.engine)
    if not isinstance(engine, NumberedEngine):
        return None
    is_processor = options.device.lower() == "cpu"
    return None if is_processor and engine.count_devices(options) == 0 else engine


def load_session(compiled_dir: Path) -> Session:
    """A session of the compiled model for images, by the engine that `compiled.json` names."""
    return find_engine(read_compiled_json(compiled_dir).engine).load(compiled_dir)


def load_for_evaluation(compiled_dir: Path, number: int | None = None) -> Session:
    """A session for an evaluation: it takes pixels where the compiled model can, else images.

    Args:
        compiled_dir: The compiled model.
        number: Of the device, of an engine that numbers them; None means the one it was compiled for.
    """
    engine = find_engine(read_compiled_json(compiled_dir).engine)
    if number is not None and isinstance(engine, DeviceLoader):
        return engine.load_on(compiled_dir, number)
    if isinstance(engine, PixelEngine):
        return engine.load_for_pixels(compiled_dir)
    return engine.load(compiled_dir)
