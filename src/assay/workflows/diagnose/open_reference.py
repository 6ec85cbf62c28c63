"""What a network is compared with: an ONNX file, or a checkpoint, which is exported for the time being."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.errors import UsageError
from assay.files import make_temporary_folder
from assay.images.sample_images import load_sample_images
from assay.models.choose_record import choose_record, describes_itself
from assay.models.hugging_face.folder import find_model_file, is_model_folder
from assay.models.model_file import is_openvino_ir
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.runs.place import INT8_FILE, ONNX_FILE

PUBLISHED = Path("published")
"""What `--against published` is read as: the record's own figure, and no network."""


@contextmanager
def open_reference(path: Path, record: ModelRecord, model: str, listener: Listener) -> Iterator[Path]:
    """The ONNX file that is right.

    Args:
        path: An ONNX file, a run folder that holds its own, or a checkpoint.
        record: Of the network that is diagnosed.
        model: The record that was named for it; empty where none was.
        listener: Hears of the export.

    Raises:
        UsageError: It is none of these, or a run that keeps no ONNX file.
        AssayError: The checkpoint cannot be exported, or its ONNX file says something else than torch.
    """
    if path.is_dir() and not is_model_folder(path):
        yield _find_in_run(path)
        return
    source = find_model_file(path)
    if is_openvino_ir(source):
        raise UsageError(
            f"--against {path}: an OpenVINO IR shows no tensors by the names of an ONNX file",
            hint="give the ONNX file that it was converted from",
        )
    if describes_itself(source):
        yield source
        return
    with make_temporary_folder("reference") as folder:
        yield _export(path, record, model, folder / ONNX_FILE, listener)


def _export(path: Path, record: ModelRecord, model: str, onnx_path: Path, listener: Listener) -> Path:
    from assay.workflows.models.export import PARITY_IMAGE_COUNT, export_checkpoint

    known = choose_record(model, path) if model or is_model_folder(path) else record
    if known.architecture == "onnx only":
        raise UsageError(
            f"--against {path}: record {known.name} names no network that a checkpoint fits",
            hint="name the record of the checkpoint's network with --model",
        )
    images = load_sample_images(known, None, PARITY_IMAGE_COUNT, listener.announce)
    return export_checkpoint(path, onnx_path, known, images, listener).onnx_path


def _find_in_run(path: Path) -> Path:
    for name in (ONNX_FILE, INT8_FILE):
        if (path / name).is_file():
            return path / name
    raise UsageError(
        f"--against {path}: the folder holds no ONNX file whose layers could be compared",
        hint="give the ONNX file itself; `assay compare` compares the answers of two runs",
    )
