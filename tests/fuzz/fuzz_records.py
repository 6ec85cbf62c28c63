"""Feeds damaged records, results and lists to their readers by coverage: any error but our own is a find.

The first byte of an input says which reader gets the rest.

By hand, for as long as you like: python tests/fuzz/fuzz_records.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
from watch import fuzz

TESTS = Path(__file__).resolve().parents[1]

with atheris.instrument_imports(include=["assay"]):
    from assay.engines.cascade.record import read_cascade_json
    from assay.engines.compiled_model import read_compiled_json
    from assay.errors import AssayError
    from assay.images.class_lists import read_class_file
    from assay.images.classes import IMAGENET_CLASSES
    from assay.images.label_files import LabelOptions, read_label_file
    from assay.images.real_labels import read_real_labels
    from assay.measure.speed.imported_results import import_result
    from assay.models.calibration import read_calibration_file
    from assay.models.hugging_face.draw_record import read_folder_record
    from assay.models.inspection.openvino_ir import read_ir_graph
    from assay.models.model_file import read_graph, read_model_file
    from assay.models.read_record import read_model_record
    from assay.modelzoo.result_files import find_result_files
    from assay.modelzoo.result_values import count_classes, read_values
    from assay.runs.results_file import Benchmark, Manifest, Metrics, read_result
    from assay.runs.stored import StoredRun

FOLDER = Path(tempfile.mkdtemp())


def read_onnx(path: Path) -> None:
    read_model_file(path)
    read_graph(path)


def read_results(path: Path) -> None:
    files = find_result_files(path.parent)
    for _ in read_values(files, count_classes(files[0])):
        pass


READERS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("record.toml", lambda path: read_model_record(str(path))),
    ("model.onnx", read_onnx),
    ("compiled.json", lambda path: read_compiled_json(path.parent)),
    ("cascade.json", lambda path: read_cascade_json(path.parent)),
    ("manifest.json", lambda path: read_result(path.parent, Manifest) and StoredRun.open(path.parent)),
    ("metrics.json", lambda path: read_result(path.parent, Metrics)),
    ("benchmark.json", lambda path: read_result(path.parent, Benchmark)),
    ("labels.csv", lambda path: read_label_file(path, IMAGENET_CLASSES, LabelOptions())),
    ("classes.json", lambda path: read_class_file(path, 3)),
    ("classes.txt", lambda path: read_class_file(path, 3)),
    ("real.json", read_real_labels),
    ("times.json", import_result),
    ("mlperf_log_detail.txt", import_result),
    ("calibration.json", read_calibration_file),
    ("config.json", lambda path: read_folder_record(path.parent)),
    ("model.xml", read_ir_graph),
    ("img0_0.npy", read_results),
    ("img0_0.txt", read_results),
    ("img0_0.bin", read_results),
)


def read(content: bytes) -> None:
    if not content:
        return
    name, reader = READERS[content[0] % len(READERS)]
    shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    path = FOLDER / name
    path.write_bytes(content[1:])
    reader(path)


SEEDS = {
    "manifest.json": b'{"schema_version": 1, "status": "finished", "started": "x", "gates": []}',
    "metrics.json": b'{"schema_version": 1, "accuracy": {"image_count": 1, "top1": {"hits": 1}}}',
    "benchmark.json": b'{"schema_version": 1, "rows": [{"batch_size": 1, "call_ms": [[1.0]]}]}',
    "compiled.json": b'{"engine": "constant", "files": {"a": "b"}, "model": {}}',
    "cascade.json": b'{"fast": "fast", "exact": "exact", "threshold": 1.0}',
    "labels.csv": b"a.jpg,1\nILSVRC2012_val_00000001.JPEG 65\n",
    "classes.json": b'{"0": ["n01440764", "tench"], "1": "a", "2": "b"}',
    "classes.txt": b"a\nb\nc\n",
    "real.json": b"[[1], [], [2, 3]]",
    "times.json": b'[{"startMs": 0.0, "endMs": 1.0, "latencyMs": 1.0}]',
    "mlperf_log_detail.txt": b':::MLLOG {"key": "effective_scenario", "value": "Offline"}\n',
    "calibration.json": b'{"preset": "mixed", "image_count": 3}',
    "config.json": b'{"architectures": ["ViTForImageClassification"], "model_type": "vit"}',
    "model.xml": b'<net name="a" version="11"><layers><layer id="0" type="Parameter"/></layers></net>',
    "img0_0.txt": b"0.5 1.5 nan",
    "img0_0.bin": np.zeros(3, np.float32).tobytes(),
}


def write_seeds(folder: Path) -> None:
    """Write an input for every reader, to begin with."""
    sys.path.insert(0, str(TESTS))
    from colour_classifier import make_colour_classifier

    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "row.npy", np.zeros((1, 3), np.float32))
    record = Path(sys.modules["assay.models"].__path__[0]) / "se_resnext50_32x4d.toml"
    contents = {
        **SEEDS,
        "record.toml": record.read_bytes(),
        "model.onnx": make_colour_classifier(FOLDER / "a.onnx", class_count=3).read_bytes(),
        "img0_0.npy": (folder / "row.npy").read_bytes(),
    }
    (folder / "row.npy").unlink()
    for number, (name, _) in enumerate(READERS):
        (folder / name).write_bytes(bytes([number]) + contents[name])


if __name__ == "__main__":
    fuzz(read, (AssayError,), write_seeds, "-keep_seed=1", "-len_control=0")
