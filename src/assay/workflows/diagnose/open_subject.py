"""What is diagnosed: a run, a compiled model, or an ONNX file, which is compiled for the time being."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.engines.catalog import find_engine, load_session
from assay.engines.compiled_model import COMPILED_JSON, read_compiled_json
from assay.engines.engine import CompileChoice, Session
from assay.engines.sources import is_quantised
from assay.errors import UsageError
from assay.models.check_network import fits_logits
from assay.models.choose_record import choose_record
from assay.models.onnx_file import read_onnx_file
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.runs.place import COMPILED_FOLDER
from assay.workflows.models.compile import compile_model

MANIFEST = "manifest.json"
_MOST_OUTPUTS = 3  # that are compiled besides the one recorded


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
    with open_onnx(path, choose_record(model, path), listener) as subject:
        yield subject


@contextmanager
def open_onnx(path: Path, record: ModelRecord, listener: Listener) -> Iterator[Subject]:
    """Compile an ONNX file for the time being.

    Raises:
        AssayError: It cannot be read, compiled or loaded.
    """
    choice = CompileChoice(precision="int8" if is_quantised(path) else "")
    options = find_engine(choice.engine).resolve(choice, record)
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        compiled_dir = Path(folder) / COMPILED_FOLDER
        compiled = compile_model(path, compiled_dir, options, overwrite=False, listener=listener)
        with closing(load_session(compiled_dir)) as session:
            yield Subject(record=record, session=session, batch_size=compiled.batch_size)


@contextmanager
def open_other_outputs(path: Path, record: ModelRecord, listener: Listener) -> Iterator[dict[str, Subject]]:
    """The outputs of an ONNX file that could be meant in place of the record's, by name; mostly none.

    Raises:
        AssayError: As `open_onnx`.
    """
    with ExitStack() as stack:
        subjects = {}
        for name in _list_other_outputs(path, record)[:_MOST_OUTPUTS]:
            output = msgspec.structs.replace(record.output, name=name)
            changed = msgspec.structs.replace(record, output=output)
            subjects[name] = stack.enter_context(open_onnx(path, changed, listener))
        yield subjects


def _list_other_outputs(path: Path, record: ModelRecord) -> list[str]:
    """Names of the outputs that hold a row of as many scores for each image."""
    if path.is_dir() or path.suffix.lower() != ".onnx":
        return []
    return [
        port.name
        for port in read_onnx_file(path).outputs
        if port.name != record.output.name
        and port.dtype.startswith("float")
        and port.shape is not None
        and fits_logits(port.shape, record.output.class_count)
    ]


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
