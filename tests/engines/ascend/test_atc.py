"""ATC against its double: every failure of the facts gives its advice, exit status 5 and no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from assay.engines.ascend.atc import ADVICE, AtcOptions, build_command, explain_failure
from assay.engines.ascend.engine import AscendEngine
from assay.engines.engine import CompileChoice
from assay.errors import BadModelError, EngineError, UsageError
from assay.models.record import ModelRecord
from brightness_classifier import make_brightness_classifier, make_brightness_record
from colour_classifier import make_colour_classifier
from compiling import compile_with
from conftest import RunAssay

CHIP = ("--engine", "ascend", "--soc-version", "Ascend310P3")

pytestmark = pytest.mark.usefixtures("ascend_tools")


def refuse(run_assay: RunAssay, onnx_path: Path, tmp_path: Path, *more: object) -> str:
    """Compile, which must fail with exit status 5 and leave nothing; return what it says on stderr."""
    arguments = ["--engine", "ascend", "--batch-size", "8", *more, "-q"]
    done = run_assay("compile", onnx_path, tmp_path / "out" / "compiled", *arguments)
    assert done.returncode == 5, done.stderr
    assert not done.stdout
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_every_documented_failure_of_atc_gives_its_advice(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setenv("ASSAY_DOUBLE_FAILURE", code)
    said = refuse(run_assay, colour_onnx, tmp_path)
    assert f"{code}: " in said
    assert ADVICE[code] in said


def test_a_missing_driver_gives_its_advice(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DOUBLE_FAILURE", "no driver")
    assert "devlib to LD_LIBRARY_PATH" in refuse(run_assay, colour_onnx, tmp_path)


@pytest.mark.parametrize(
    ("failure", "complaint"),
    [
        ("no text", "exited with 0 but says nothing of success"),
        ("no file", "exited with 0 but wrote no .om file"),
        ("exit status", "exit status 3"),
    ],
)
def test_success_needs_exit_status_text_and_file(
    run_assay: RunAssay,
    colour_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
    complaint: str,
) -> None:
    monkeypatch.setenv("ASSAY_DOUBLE_FAILURE", failure)
    assert complaint in refuse(run_assay, colour_onnx, tmp_path)


def test_a_file_whose_name_ends_with_the_host_is_taken(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DOUBLE_FAILURE", "host in name")
    compiled = compile_with(AscendEngine(), colour_onnx, tmp_path, se_resnext50, batch_size=4)
    assert "model.om" in compiled.files


def test_an_unknown_chip_is_refused_with_atcs_code_and_its_advice(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    said = refuse(run_assay, colour_onnx, tmp_path, "--soc-version", "Ascend999")
    assert "E10001" in said
    assert ADVICE["E10001"] in said


def test_another_input_name_than_the_records_is_refused(run_assay: RunAssay, tmp_path: Path) -> None:
    onnx_path = make_colour_classifier(tmp_path / "other.onnx", input_name="picture")
    assert "an input named 'image', found: picture" in refuse(run_assay, onnx_path, tmp_path)


def test_another_input_size_than_the_records_is_refused(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(colour_onnx))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 192
    onnx.save(model, str(tmp_path / "small.onnx"))
    assert "has shape [batch, 3, 192, 224]" in refuse(run_assay, tmp_path / "small.onnx", tmp_path)


def test_an_input_of_another_rank_is_refused_with_its_shape(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(colour_onnx))
    del model.graph.input[0].type.tensor_type.shape.dim[3]
    onnx.save(model, str(tmp_path / "flat.onnx"))
    assert "has shape [batch, 3, 224]" in refuse(run_assay, tmp_path / "flat.onnx", tmp_path)


def test_an_opset_that_is_too_new_is_refused(run_assay: RunAssay, colour_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(str(colour_onnx))
    model.opset_import[0].version = 21
    onnx.save(model, str(tmp_path / "new.onnx"))
    assert ADVICE["E19010"] in refuse(run_assay, tmp_path / "new.onnx", tmp_path)


def test_bytes_that_are_no_onnx_file_are_refused(run_assay: RunAssay, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)))
    said = refuse(run_assay, tmp_path / "noise.onnx", tmp_path, "--model", "se_resnext50_32x4d")
    assert "cannot be read as an ONNX file" in said


def test_several_batch_sizes_for_a_model_with_one_are_refused(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(colour_onnx))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(model, str(tmp_path / "fixed.onnx"))
    options = [*CHIP, "--set", "dynamic_batch_size=1,4", "-q"]
    done = run_assay("compile", tmp_path / "fixed.onnx", tmp_path / "compiled", *options)
    assert (done.returncode, ADVICE["E10012"] in done.stderr) == (5, True)


def test_an_option_that_this_cann_lacks_is_refused(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    said = refuse(run_assay, colour_onnx, tmp_path, "--set", "atc_options=--fly=1")
    assert "unknown command line flag 'fly'" in said


def test_an_aipp_file_that_cannot_be_read_is_refused_with_the_line(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong.cfg").write_text("aipp_op {\n  aipp_mode\uff1a static\n}\n", encoding="utf-8")
    said = refuse(run_assay, colour_onnx, tmp_path, "--insert-op-conf", tmp_path / "wrong.cfg")
    assert "line 2" in said
    assert "no ASCII character" in said


@pytest.mark.parametrize(
    "text",
    [
        "E10007: [--framework] is required. The value must be [0(Caffe) or 5(ONNX)].",
        "E10007: [PID: 10490] 2025-03-18-09:02:18.501.341 [--framework] is required. The value must be [5].",
        "E10007: --framework is required. The value must be 0(Caffe) or 5(Onnx).",
    ],
)
def test_all_three_styles_of_error_text_are_read(text: str) -> None:
    error = explain_failure(Path("m.onnx"), 255, f"ATC run failed, Please check\n{text}\n", "")
    assert "E10007: " in error.message
    assert "--framework" in error.message
    assert "PID" not in error.message


def test_the_atc_command_is_the_documented_one(se_resnext50: ModelRecord) -> None:
    options = AtcOptions(
        record=se_resnext50,
        soc_version="Ascend310P3",
        batch_size=16,
        gears=(),
        precision_mode="force_fp16",
        aipp="",
        extra=("--enable_small_channel=1",),
    )
    assert build_command(Path("atc"), options) == [
        "atc",
        "--model=model.onnx",
        "--framework=5",
        "--output=model",
        "--input_format=NCHW",
        "--input_shape=image:16,3,224,224",
        "--log=error",
        "--soc_version=Ascend310P3",
        "--precision_mode=force_fp16",
        "--enable_small_channel=1",
    ]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"atc_options": "--auto_tune_mode=RL"}, "use CANN's aoe"),
        ({"atc_options": "--framework=0"}, "assay sets it itself"),
        ({"precision_mode": "force_fp8"}, "expected one of force_fp16"),
        ({"soc_version": "ASCEND310P3"}, "upper from lower case"),
        ({"dynamic_batch_size": "1,2"}, "not both"),
        ({"device_id": "x"}, "expected a whole number"),
        ({"runner": "telnet"}, "expected one of python, process"),
    ],
)
def test_impossible_settings_are_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, settings: dict[str, str], complaint: str
) -> None:
    settings = {"soc_version": "Ascend310P3", **settings}
    with pytest.raises(UsageError, match=complaint):
        compile_with(AscendEngine(), colour_onnx, tmp_path, se_resnext50, batch_size=8, settings=settings)


def test_bf16_on_a_chip_without_it_is_refused(se_resnext50: ModelRecord) -> None:
    settings = {"soc_version": "Ascend310P3"}
    choice = CompileChoice(batch_size=8, precision="bf16", settings=settings)
    with pytest.raises(UsageError, match="Ascend310P3 does not compute in bf16"):
        AscendEngine().resolve(choice, se_resnext50)


def test_the_chip_is_that_of_the_machine(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    compiled = compile_with(AscendEngine(), colour_onnx, tmp_path, se_resnext50, batch_size=4)
    assert compiled.settings["soc_version"] == "Ascend310P3"
    assert compiled.engine_version == "CANN 8.0.0"


def test_without_a_chip_one_must_be_named(se_resnext50: ModelRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_DOUBLE_CHIP")
    with pytest.raises(UsageError, match="npu-smi lists none"):
        AscendEngine().resolve(CompileChoice(batch_size=4), se_resnext50)


def test_a_model_of_another_chip_is_refused_before_it_is_loaded(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_with(AscendEngine(), colour_onnx, tmp_path, se_resnext50, batch_size=4)
    monkeypatch.setenv("ASSAY_DOUBLE_CHIP", "Ascend310")
    with pytest.raises(EngineError, match="compiled for Ascend310P3; this machine has Ascend310"):
        AscendEngine().load(tmp_path)


def test_a_quantised_file_is_refused(tmp_path: Path) -> None:
    path = make_brightness_classifier(
        tmp_path / "int8.onnx",
        front=[
            helper.make_node("QuantizeLinear", ["image", "scale"], ["quantised"]),
            helper.make_node("DequantizeLinear", ["quantised", "scale"], ["pixels"]),
        ],
        constants={"scale": np.float32(1.0)},
    )
    with pytest.raises(BadModelError, match="is quantised"):
        compile_with(AscendEngine(), path, tmp_path, make_brightness_record(), batch_size=4)
