"""What the ONNX Runtime engine promises beyond the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from assay.engines.engine import CompileChoice
from assay.engines.onnxruntime.distributions import import_onnxruntime
from assay.engines.onnxruntime.engine import OnnxRuntimeEngine
from assay.errors import BadModelError, MissingRuntimeError, UsageError
from assay.models.record import ModelRecord
from colour_classifier import make_colour_classifier
from compiling import compile_with
from network_forms import TINY_RECORD, make_tiny_network, write_form


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
        compile_with(OnnxRuntimeEngine(), onnx_path, tmp_path, se_resnext50)


def test_bytes_that_are_no_onnx_are_refused_with_the_cause(se_resnext50: ModelRecord, tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(bytes(range(256)) * 4)
    folder = tmp_path / "compiled"
    folder.mkdir()
    with pytest.raises(BadModelError, match="cannot be read as an ONNX file") as caught:
        compile_with(OnnxRuntimeEngine(), path, folder, se_resnext50)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("device", ["cuda", "tensorrt", "cann", "openvino"])
def test_a_provider_that_is_not_built_in_is_refused_before_any_work(
    se_resnext50: ModelRecord, device: str
) -> None:
    with pytest.raises(MissingRuntimeError, match=r"has no \w+ExecutionProvider; it has: .*CPU"):
        OnnxRuntimeEngine().resolve(CompileChoice(device=device), se_resnext50)


def test_a_runtime_that_falls_back_to_the_cpu_is_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As onnxruntime-cann does without CANN: it lists the provider, and runs on the CPU without an error."""
    claimed = ["CANNExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)
    with pytest.raises(MissingRuntimeError, match=r"runs on CPU\w+, not on CANNExecutionProvider"):
        compile_with(
            OnnxRuntimeEngine(), colour_onnx, tmp_path, se_resnext50, device="cann", precision="fp16"
        )
    assert set(OnnxRuntimeEngine().find_devices()) == {"cpu"}


def test_a_precision_that_the_provider_lacks_is_refused(se_resnext50: ModelRecord) -> None:
    with pytest.raises(UsageError, match="does not compute in fp16 on cpu"):
        OnnxRuntimeEngine().resolve(CompileChoice(precision="fp16"), se_resnext50)


def test_the_thread_count_is_what_was_asked_for(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    compile_with(OnnxRuntimeEngine(), colour_onnx, tmp_path, se_resnext50, settings={"threads": "1"})
    session = OnnxRuntimeEngine().load(tmp_path)
    assert session.description.thread_count == 1
    session.close()


@pytest.mark.parametrize("threads", ["0", "-1", "two", ""])
def test_a_thread_count_that_is_no_whole_number_from_1_is_refused(
    se_resnext50: ModelRecord, threads: str
) -> None:
    choice = CompileChoice(settings={"threads": threads})
    if threads:
        with pytest.raises(UsageError, match="expected a whole number from 1"):
            OnnxRuntimeEngine().resolve(choice, se_resnext50)
    else:
        assert OnnxRuntimeEngine().resolve(choice, se_resnext50).settings == {"threads": ""}


def test_two_distributions_in_one_environment_are_found_with_the_way_to_repair_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "onnxruntime_gpu-1.31.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingRuntimeError, match="installed 2 times") as caught:
        import_onnxruntime()
    assert caught.value.hint == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def test_a_float16_file_does_not_run_in_fp32_where_the_provider_computes_in_what_the_file_holds(
    tmp_path: Path,
) -> None:
    """CUDA is not here; the file is refused before it is looked for. The CPU of x86 casts to float32."""
    make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", "float16 throughout", TINY_RECORD, tmp_path / "model.onnx")
    on_cpu = OnnxRuntimeEngine().resolve(CompileChoice(engine="onnxruntime"), record)
    with pytest.raises(BadModelError, match="CUDAExecutionProvider would not run it in fp32") as caught:
        OnnxRuntimeEngine().compile(tmp_path / "model.onnx", tmp_path, replace(on_cpu, device="cuda"))
    assert "the float32 file" in caught.value.hint
