"""What the OpenVINO engine promises beyond the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino
import pytest

from assay.arrays import Batch
from assay.engines.compiled_model import read_compiled_json
from assay.engines.openvino.engine import OpenVinoEngine
from assay.engines.openvino.source import name_nodes, read_onnx
from assay.errors import BadModelError, MissingRuntimeError
from assay.models.record import ModelRecord
from colour_classifier import make_colour_classifier
from compiling import compile_with


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        ({"input_name": "picture"}, "expected an input named 'image', found: picture"),
        ({"output_name": "scores"}, "expected an output named 'class', found: scores"),
        ({"class_count": 10}, "has shape .*10.*, the model record says .*1000"),
    ],
)
def test_a_file_with_other_tensors_than_the_record_is_refused(
    se_resnext50: ModelRecord, tmp_path: Path, made: dict[str, str], complaint: str
) -> None:
    onnx_path = make_colour_classifier(tmp_path / "other.onnx", **made)  # type: ignore[arg-type]
    with pytest.raises(BadModelError, match=complaint):
        compile_with(OpenVinoEngine(), onnx_path, tmp_path, se_resnext50)


def test_another_input_size_than_the_record_is_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    preprocessing = msgspec.structs.replace(se_resnext50.preprocessing, crop_size=192)
    tensor = msgspec.structs.replace(se_resnext50.input, height=192, width=192)
    record = msgspec.structs.replace(se_resnext50, input=tensor, preprocessing=preprocessing)
    with pytest.raises(BadModelError, match="the model record says"):
        compile_with(OpenVinoEngine(), colour_onnx, tmp_path, record)


def test_bytes_that_are_no_onnx_are_refused_with_the_cause(se_resnext50: ModelRecord, tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(BadModelError, match="cannot be read as an ONNX file") as caught:
        compile_with(OpenVinoEngine(), path, tmp_path, se_resnext50)
    assert caught.value.__cause__ is not None


def test_a_precision_that_the_processor_lacks_is_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in fp16")
    with pytest.raises(MissingRuntimeError, match="does not compute in fp16"):
        compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50, precision="fp16")


def test_a_device_that_is_not_there_is_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    if "GPU" in openvino.Core().available_devices:
        pytest.skip("this machine has an Intel GPU")
    with pytest.raises(MissingRuntimeError, match="finds no device GPU"):
        compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50, device="GPU")


def test_a_model_that_is_read_again_in_the_same_process_has_the_same_names(
    colour_onnx: Path, se_resnext50: ModelRecord
) -> None:
    """OpenVINO names nodes by how many the process has made: a second compilation would be another model."""
    names = []
    for _ in range(2):
        model = read_onnx(colour_onnx, se_resnext50)
        name_nodes(model)
        names.append([node.get_friendly_name() for node in model.get_ordered_ops()])
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])


def test_weights_are_kept_in_float32(colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path) -> None:
    compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50)
    assert (tmp_path / "model.bin").stat().st_size >= 3 * 1000 * 4


def test_the_first_calls_of_a_process_may_come_from_several_threads(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    """In OpenVINO itself they wait for each other for ever, in three of four processes."""
    compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50)
    program = f"""
import os, sys, threading
import subprocess
import sys
from pathlib import Path
import numpy as np
from assay.engines.compiled_model import read_compiled_json
from assay.engines.openvino.engine import OpenVinoEngine

sys.setswitchinterval(1e-6)
session = OpenVinoEngine().load(Path({str(tmp_path)!r}))
images = np.zeros((1, 3, 224, 224), dtype=np.float32)
together = threading.Barrier(4)

def run():
    together.wait()
    session.run(images)

threads = [threading.Thread(target=run, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
os._exit(any(thread.is_alive() for thread in threads))
"""
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", program], check=False, timeout=300).returncode == 0


@pytest.mark.parametrize("inner_batch", ["1", "3"])
def test_a_batch_run_in_pieces_keeps_its_order(
    inner_batch: str, colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    """The classifier's first logits are the images' mean colours, so each row tells its image."""
    settings = {"streams": "2", "inner_batch": inner_batch}
    compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50, settings=settings)
    images = np.ones((10, 3, 224, 224), np.float32) * np.arange(10, dtype=np.float32)[:, None, None, None]
    session = OpenVinoEngine().load(tmp_path)
    try:
        logits = session.run(images)
        alone = [session.run(images[number : number + 1]) for number in range(10)]
    finally:
        session.close()
    assert logits.shape == (10, 1000)
    assert len({row.tobytes() for row in logits}) == 10
    np.testing.assert_allclose(logits, np.concatenate(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (4, [2, 2]), (5, [3, 2]), (9, [4, 4, 1])])
def test_a_batch_of_one_caller_is_shared_by_the_streams(
    count: int,
    expected: list[int],
    colour_onnx: Path,
    se_resnext50: ModelRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"streams": "2", "inner_batch": "4"}
    compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50, settings=settings)
    session = OpenVinoEngine().load(tmp_path)
    if session.concurrency != 2:
        pytest.skip("one processor has one stream")
    sizes: list[int] = []
    infer = openvino.InferRequest.infer

    def infer_and_note(request: openvino.InferRequest, inputs: list[Batch], **options: Any) -> Any:
        sizes.append(len(inputs[0]))
        return infer(request, inputs, **options)

    monkeypatch.setattr(openvino.InferRequest, "infer", infer_and_note)
    try:
        assert session.run(np.zeros((count, 3, 224, 224), np.float32)).shape == (count, 1000)
    finally:
        session.close()
    assert sorted(sizes, reverse=True) == expected


def test_streams_and_inner_batch_are_measured_when_compiling(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    compiled = compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50)
    assert compiled.tuning is not None
    assert len(compiled.tuning.images_per_second) == 3
    chosen = f"streams {compiled.tuning.streams}, inner batch {compiled.tuning.inner_batch}"
    assert compiled.tuning.images_per_second[chosen] > 0
    assert read_compiled_json(tmp_path).tuning == compiled.tuning


def test_a_model_for_one_batch_size_only_runs_in_batches_of_it(
    se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    onnx_path = make_colour_classifier(tmp_path / "four.onnx", batch_size=4)
    (tmp_path / "c").mkdir()
    compiled = compile_with(OpenVinoEngine(), onnx_path, tmp_path / "c", se_resnext50, batch_size=4)
    session = OpenVinoEngine().load(tmp_path / "c")
    try:
        assert session.run(np.zeros((3, 3, 224, 224), np.float32)).shape == (3, 1000)
    finally:
        session.close()
    assert compiled.tuning is not None
    assert compiled.tuning.inner_batch in {1, 2, 4}
