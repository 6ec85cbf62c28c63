"""What is diagnosed: a run, a compiled model, or an ONNX file, which is compiled for the time being."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.engines.catalog import find_engine, load_session
from assay.engines.compiled_model import COMPILED_JSON, read_compiled_json
from assay.engines.engine import CompileChoice, Session
from assay.engines.sources import is_quantised
from assay.errors import UsageError
from assay.models.choose_record import choose_record
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.runs.place import COMPILED_FOLDER
from assay.workflows.models.compile import compile_model

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network that can be run: its record, a session for images, and the largest batch it takes."""

    record: ModelRecord
    session: Session
    batch_size: int | None


@contextmanager
def open_subject(path: Path, model: str, listener: Listener) -> Iterator[Subject]:
    """Open a run folder, a compiled model's folder or an ONNX file; what is compiled here is deleted again.

    Args:
        path: The run folder, the compiled model's folder, or the ONNX file.
        model: Name or path of the record of an ONNX file; empty for the one that it carries.
        listener: Hears of the compilation.

    Raises:
        UsageError: It is none of these, or --model is given for a compiled model, which has its record.
        AssayError: It cannot be read, compiled or loaded.
    """
    if path.is_dir():
        compiled_dir = _find_compiled(path)
        compiled = read_compiled_json(compiled_dir)
        if model:
            raise UsageError(f"--model {model}: {compiled_dir} carries its record", hint="leave --model out")
        with closing(load_session(compiled_dir)) as session:
            yield Subject(record=compiled.model, session=session, batch_size=compiled.batch_size)
        return
    record = choose_record(model, path)
    choice = CompileChoice(precision="int8" if is_quantised(path) else "")
    options = find_engine(choice.engine).resolve(choice, record)
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        compiled_dir = Path(folder) / COMPILED_FOLDER
        compiled = compile_model(path, compiled_dir, options, overwrite=False, listener=listener)
        with closing(load_session(compiled_dir)) as session:
            yield Subject(record=record, session=session, batch_size=compiled.batch_size)


def _find_compiled(path: Path) -> Path:
    """The compiled model in a folder that is one, or is a run's: of several the last, which was evaluated."""
    if (path / COMPILED_JSON).is_file():
        return path
    found = sorted((path / COMPILED_FOLDER).glob(f"**/{COMPILED_JSON}"), key=_read_batch_size)
    if not found:
        raise UsageError(
            f"{path}: expected a run folder, a compiled model's folder, or an ONNX file",
            hint="`assay evaluate` keeps no compiled model in its run folder: give the model's own folder",
        )
    return found[-1].parent


def _read_batch_size(path: Path) -> int:
    return read_compiled_json(path.parent).batch_size or 0
