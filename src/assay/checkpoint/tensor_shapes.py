"""Names and shapes of a checkpoint's tensors, without a network that they are for."""

from __future__ import annotations

import json
import math
from pathlib import Path

from assay.checkpoint.choose_weights import choose_weights
from assay.checkpoint.read_weights import read_content, recognise_format
from assay.errors import BadCheckpointError, blame_file

Shapes = dict[str, tuple[int, ...]]


def read_tensor_shapes(path: Path) -> tuple[Shapes, dict[str, str]]:
    """The shape of each tensor by its name, and what tools noted in the file.

    Of a safetensors file the header alone is read. Of a file of torch the plain weights are taken, and their
    names without what wrappers such as DataParallel put before them.

    Raises:
        BadCheckpointError: The file is damaged, holds no tensors, or wants to run code.
        MissingRuntimeError: A file of torch, but torch is not installed.
    """
    with path.open("rb") as file:
        head = file.read(512)
    file_format = recognise_format(head, path)
    if file_format == "safetensors":
        return _read_header(path)
    chosen = choose_weights(read_content(path, file_format), (), path)
    return {name: tuple(tensor.shape) for name, tensor in chosen.tensors.items()}, {}


def _read_header(path: Path) -> tuple[Shapes, dict[str, str]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        content = file.read(length)
    with blame_file(BadCheckpointError, f"weights {path}: its header is damaged", hint="download it again"):
        header = json.loads(content)
        notes = dict(header.pop("__metadata__", {}))
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    if not shapes or any(size < 0 for shape in shapes.values() for size in shape):
        raise _refuse(path, "it holds no tensors")
    if end + 8 + length != size:
        raise _refuse(path, f"expected {end + 8 + length:,} bytes, found {size:,}")
    return shapes, {str(key): str(value) for key, value in notes.items()}


def _refuse(path: Path, why: str) -> BadCheckpointError:
    return BadCheckpointError(f"weights {path}: {why}", hint="download it again")


def count_parameters(shapes: Shapes) -> int:
    """How many numbers the tensors hold, batch norm's running values among them."""
    return sum(math.prod(shape) for shape in shapes.values())
