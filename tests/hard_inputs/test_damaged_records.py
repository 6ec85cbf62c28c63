"""Files whose reader's library raises what it does not document: the file is blamed, it is no bug."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay.checkpoint.tensor_shapes import read_tensor_shapes
from assay.engines.compiled_model import read_compiled_json
from assay.errors import BadInputError
from assay.images.class_lists import read_class_file
from assay.images.real_labels import read_real_labels
from assay.measure.speed.imported_results import import_result
from assay.models.inspection.form import recognise_form
from assay.models.inspection.openvino_ir import read_ir_graph
from assay.models.onnx_file import read_onnx_file
from assay.models.read_record import read_model_record
from assay.modelzoo.result_files import find_result_files
from assay.modelzoo.result_values import count_classes, read_values
from assay.runs.results_file import Manifest, read_result
from assay.workflows.results.verify import verify_bundle

DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DIGITS = b"9" * 5000


def read_manifest(path: Path) -> None:
    read_result(path.parent, Manifest)


def read_npy(path: Path) -> None:
    files = find_result_files(path.parent)
    list(read_values(files, count_classes(files[0])))


def zip_with_a_name_that_is_no_utf8() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("\u00e9.pkl", b"x")
    return stream.getvalue().replace("\u00e9".encode(), b"\xcd\xcd")


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("manifest.json", DEEP, lambda path: read_result(path.parent, Manifest)),
        (
            "manifest.json",
            b'{"schema_version": ' + DIGITS + b"}",
            lambda path: read_result(path.parent, Manifest),
        ),
        ("manifest.json", b'{"\xff": 1}', lambda path: read_result(path.parent, Manifest)),
        ("compiled.json", DEEP, lambda path: read_compiled_json(path.parent)),
        ("classes.json", b'{"' + DIGITS + b'": "a"}', lambda path: read_class_file(path, 3)),
        ("real.json", DEEP, read_real_labels),
        ("times.json", DEEP, import_result),
        ("times.json", b'[{"computeMs": 1e999}]', import_result),
        ("record.toml", b"a = " + b"[" * 100_000, lambda path: read_model_record(str(path))),
        ("record.toml", b"schema_version = " + DIGITS, lambda path: read_model_record(str(path))),
        ("model.xml", b'<?xml version="1.0" encoding="nonsense"?><net/>', read_ir_graph),
        ("model.onnx", b"\x3a\x02" * 10, read_onnx_file),
        ("a.safetensors", (10**5).to_bytes(8, "little") + b"[" * 10**5, read_tensor_shapes),
        ("weights.pth", zip_with_a_name_that_is_no_utf8(), recognise_form),
        ("run.zip", zip_with_a_name_that_is_no_utf8(), verify_bundle),
        ("img0_0.npy", npy(b"{'descr': '<f4', 'shape': ("), read_npy),
        ("img0_0.npy", npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999,)}"), read_npy),
    ],
)
def test_a_damaged_file_is_blamed(
    name: str, content: bytes, read: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(BadInputError):
        read(tmp_path / name)


def test_results_in_npy_are_read_as_before(tmp_path: Path) -> None:
    np.save(tmp_path / "img0_0.npy", np.arange(3, dtype=np.float32))
    (rows,) = read_values(find_result_files(tmp_path), 3)
    assert rows.tolist() == [[0.0, 1.0, 2.0]]
