"""What is diagnosed: a run, a compiled model, an ONNX file, or a checkpoint, compiled for the time being."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.engines.catalog import find_engine, load_session
from assay.engines.compiled_model import COMPILED_JSON, CompiledModel, read_compiled_json
from assay.engines.engine import CompileChoice, Session
from assay.engines.sources import is_quantised
from assay.errors import UsageError
from assay.files import make_temporary_folder
from assay.models.check_network import fits_logits
from assay.models.choose_record import choose_record, describes_itself
from assay.models.hugging_face.folder import find_model_file, is_model_folder
from assay.models.model_file import is_openvino_ir
from assay.models.onnx_file import read_onnx_file
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.runs.place import COMPILED_FOLDER, INT8_FILE, ONNX_FILE
from assay.workflows.models.compile import compile_model

MANIFEST = "manifest.json"
_MOST_OUTPUTS = 3  # that are compiled besides the one recorded


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network that can be run: its record, a session for images, and the largest batch it takes.

    Args:
        record: The model record.
        session: Of the compiled model.
        batch_size: What it was compiled for; None for any.
        compiled: What its `compiled.json` says.
        onnx_path: The ONNX file that it was compiled of, where that is at hand; None for other forms.
    """

    record: ModelRecord
    session: Session
    batch_size: int | None
    compiled: CompiledModel
    onnx_path: Path | None


@contextmanager
def open_subject(path: Path, model: str, listener: Listener) -> Iterator[Subject]:
    """Open what is diagnosed; what is compiled here is deleted again.

    Args:
        path: A run folder, a compiled model's folder, an ONNX file or OpenVINO IR, a folder of the Hugging
            Face hub, or a checkpoint, which runs in torch.
        model: Name or path of the record; empty for the one that the file carries.
        listener: Hears of the compilation.

    Raises:
        UsageError: It is none of these, or --model is given for a compiled model, which has its record.
        AssayError: It cannot be read, compiled or loaded.
    """
    if path.is_dir() and not is_model_folder(path):
        compiled_dir = _find_compiled(path)
        if model:
            raise UsageError(f"--model {model}: {compiled_dir} carries its record", hint="leave --model out")
        with _load(compiled_dir, find_run_onnx(path, read_compiled_json(compiled_dir))) as subject:
            yield subject
        return
    with open_file(path, choose_record(model, path), listener) as subject:
        yield subject


@contextmanager
def open_file(path: Path, record: ModelRecord, listener: Listener) -> Iterator[Subject]:
    """Compile an ONNX file, an IR or a checkpoint for the time being.

    Raises:
        AssayError: It cannot be read, compiled or loaded.
    """
    source = find_model_file(path)
    if describes_itself(source):
        choice = CompileChoice(precision="int8" if is_quantised(source) else "")
    else:
        choice = CompileChoice(engine="torch")
    options = find_engine(choice.engine).resolve(choice, record)
    with make_temporary_folder("subject") as folder:
        compiled_dir = folder / COMPILED_FOLDER
        compile_model(path, compiled_dir, options, overwrite=False, listener=listener)
        is_onnx = describes_itself(source) and not is_openvino_ir(source)
        with _load(compiled_dir, source if is_onnx else None) as subject:
            yield subject


@contextmanager
def _load(compiled_dir: Path, onnx_path: Path | None) -> Iterator[Subject]:
    compiled = read_compiled_json(compiled_dir)
    with closing(load_session(compiled_dir)) as session:
        yield Subject(
            record=compiled.model,
            session=session,
            batch_size=compiled.batch_size,
            compiled=compiled,
            onnx_path=onnx_path,
        )


def find_run_onnx(path: Path, compiled: CompiledModel) -> Path | None:
    """The ONNX file in a run's folder that a compiled model was made of; None where there is none."""
    found = path / (INT8_FILE if compiled.precision == "int8" else ONNX_FILE)
    return found if found.is_file() else None


@contextmanager
def open_other_outputs(path: Path, record: ModelRecord, listener: Listener) -> Iterator[dict[str, Subject]]:
    """The outputs of an ONNX file that could be meant in place of the record's, by name; mostly none.

    Raises:
        AssayError: As `open_file`.
    """
    with ExitStack() as stack:
        subjects = {}
        for name in _list_other_outputs(path, record)[:_MOST_OUTPUTS]:
            output = msgspec.structs.replace(record.output, name=name)
            changed = msgspec.structs.replace(record, output=output)
            subjects[name] = stack.enter_context(open_file(path, changed, listener))
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
