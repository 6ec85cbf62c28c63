"""What a folder of the Hugging Face hub says of itself, and the record that its own files give."""

from __future__ import annotations

import shlex
from pathlib import Path

from assay.models.hugging_face.draw_record import read_folder_lines
from assay.models.hugging_face.folder import find_model_file, list_weight_files
from assay.models.inspection.record_lines import Lines, build_record, list_open, sort_lines
from assay.report.inspection import Inspection


def inspect_folder(
    folder: Path, form: str, given: Lines, record_path: Path | None
) -> tuple[Inspection, Lines]:
    """What the folder's files say, and the lines of its record, those that the user gives before its own.

    Args:
        folder: With a config.json.
        form: What it is, in words.
        given: Lines that the user decides.
        record_path: Where the record will be written; None for nowhere.

    Raises:
        BadModelError: Its configurations cannot be read, or do not say how pictures are prepared.
        BadCheckpointError: Its weights cannot be read.
        UsageError: The lines do not fit together.
    """
    from assay.checkpoint.tensor_shapes import count_parameters, read_tensor_shapes

    lines = read_folder_lines(folder) | given
    if not list_open(lines):
        build_record(lines)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in list_weight_files(folder, must_exist=False):
        shapes |= read_tensor_shapes(file)[0]
    if not shapes:
        find_model_file(folder)  # says what is missing, where there is no ONNX file either
    use = f" --model {shlex.quote(str(record_path))}" if record_path else ""
    inspection = Inspection(
        model=str(folder),
        form=form,
        version="",
        opset=None,
        producer="",
        tensor_count=len(shapes),
        parameter_count=count_parameters(shapes) if shapes else None,
        record_from="from the folder's own files",
        record=tuple(sort_lines(lines)),
        next=("Run it:", f"  assay run --weights {shlex.quote(str(folder))}{use} --images DIR"),
    )
    return inspection, lines
