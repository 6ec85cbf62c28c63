"""A session of an ONNX model that is only tried, by the default engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from assay.convert.quantize import write_onnx
from assay.engines.catalog import find_engine
from assay.engines.engine import CompileChoice, Session
from assay.files import make_temporary_folder
from assay.models.record import ModelRecord
from assay.processors import count_processors


@contextmanager
def open_draft(model: Any, record: ModelRecord, precision: str) -> Iterator[Session]:
    """Give a session of a ModelProto, which is compiled without measuring and without comparing batches.

    Raises:
        AssayError: As `Engine.compile` and `Engine.load`.
    """
    # for a hundred images, measuring how to run them would take longer than running them
    settings = {"streams": str(count_processors()), "inner_batch": "1", "normalise": "on_host"}
    choice = CompileChoice(precision=precision, settings=settings)
    engine = find_engine(choice.engine)
    with make_temporary_folder("draft") as folder:
        path, compiled_dir = folder / "model.onnx", folder / "compiled"
        write_onnx(model, path)
        compiled_dir.mkdir()
        engine.compile(path, compiled_dir, replace(engine.resolve(choice, record), compares_batches=False))
        with closing(engine.load(compiled_dir)) as session:
            yield session
