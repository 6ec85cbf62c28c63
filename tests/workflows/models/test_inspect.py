"""What `assay inspect` finds and shows."""

from __future__ import annotations

import json
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from safetensors.torch import save_file

from assay.checkpoint.network import SEResNeXt50
from assay.command_line.app import main
from assay.engines.catalog import find_engine
from assay.errors import BadCheckpointError, UsageError
from assay.models.choose_record import store_record
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.workflows.models.inspect import inspect_model
from onnx_forms import write_classifier


def test_multiply_adds_are_those_of_the_layers(tmp_path: Path) -> None:
    found = inspect_model(write_classifier(tmp_path / "m.onnx"))
    assert found.multiply_adds == 222 * 222 * 8 * 27 + 8 * 1000
    assert found.parameter_count == 8 * 27 + 8 + 8000 + 1000


def test_multiply_adds_of_free_sizes_are_not_known_until_the_size_is(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", shape=["n", 3, "h", "w"])
    assert inspect_model(path).multiply_adds_unknown == "the file takes images of any size"
    found = inspect_model(path, given=["input.height=32", "input.width=32"])
    assert found.multiply_adds == 30 * 30 * 8 * 27 + 8000


def test_the_record_that_assay_stored_is_the_one_and_nothing_is_open(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    store_record(path, se_resnext50)
    found = inspect_model(path)
    assert (found.open, found.record_from) == ((), "as assay stored it in the file (se_resnext50_32x4d)")
    assert "assay.model_record" not in found.metadata


def test_the_command_shows_it_in_80_columns_and_writes_the_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_classifier(tmp_path / "m.onnx", metadata={"note": "long " * 100})
    record = tmp_path / "record.toml"
    assert main(["inspect", str(path), "-o", str(record)]) == 0
    shown = capfd.readouterr().out
    assert "logits (Gemm) of 1,000 classes" in shown
    assert "OPEN   mean: no file says it" in shown
    commands = [line for line in shown.splitlines() if str(tmp_path) in line]
    assert max(len(line) for line in shown.splitlines() if line not in commands) <= 80
    assert "open = [" in record.read_text()


def test_json_is_one_document(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(write_classifier(tmp_path / "m.onnx")), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["schema_version"] == 1
    assert document["inspection"]["outputs"][0]["class_count"] == 1000
    assert document["inspection"]["open"][0] == "preprocessing.resize"


def test_a_like_record_fills_it_and_the_record_written_is_used(tmp_path: Path) -> None:
    path, record = write_classifier(tmp_path / "m.onnx"), tmp_path / "record.toml"
    assert main(["inspect", str(path), "--like", "se_resnext50_32x4d", "-o", str(record)]) == 0
    assert main(["compile", str(path), str(tmp_path / "compiled"), "--model", str(record)]) == 0


def test_a_pickled_module_is_named_and_refused_with_the_safe_way(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "whole.pth"
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)), path)
    assert main(["inspect", str(path)]) == 5
    said = capfd.readouterr().err
    assert "is a pickled PyTorch module: it would run code" in said
    assert "weights_only=False" in said


def test_an_ir_is_compiled_and_run_by_openvino_and_refused_elsewhere_with_the_way_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx_path, record = write_classifier(tmp_path / "m.onnx", class_count=5), tmp_path / "record.toml"
    openvino.save_model(openvino.convert_model(onnx_path), tmp_path / "m.xml")  # weights as float16
    xml = str(tmp_path / "m.xml")
    assert main(["inspect", xml, "--like", "se_resnext50_32x4d", "-o", str(record)]) == 0
    assert main(["compile", xml, str(tmp_path / "ir"), "--model", str(record)]) == 0
    assert main(["compile", str(onnx_path), str(tmp_path / "onnx"), "--model", str(record)]) == 0
    images = np.random.default_rng(1).random((2, 3, 224, 224), dtype=np.float32)
    engine = find_engine("openvino")
    with closing(engine.load(tmp_path / "ir")) as ir, closing(engine.load(tmp_path / "onnx")) as onnx:
        np.testing.assert_allclose(ir.run(images), onnx.run(images), rtol=1e-5)
    elsewhere = ["compile", xml, str(tmp_path / "ort"), "--model", str(record), "--engine", "onnxruntime"]
    assert main(elsewhere) == 5
    assert "choose --engine openvino" in capfd.readouterr().err
    out = str(tmp_path / "int8.onnx")
    assert main(["quantize", xml, out, "--model", str(record), "--calibration", str(tmp_path)]) == 5
    assert "quantise the ONNX file that it was converted from" in capfd.readouterr().err


def test_a_checkpoint_is_recognised_by_its_tensors_with_the_commands_that_run_it(tmp_path: Path) -> None:
    path = tmp_path / "se_resnext50.pth"
    torch.save(
        {"state_dict": {f"module.{name}": each for name, each in SEResNeXt50().state_dict().items()}}, path
    )
    found = inspect_model(path)
    assert found.form == "checkpoint (state dict)"
    assert "timm legacy_seresnext50_32x4d" in found.architectures
    assert any("--model timm/legacy_seresnext50_32x4d" in line for line in found.next)


def test_of_safetensors_the_header_is_read_and_a_classifier_of_other_classes_is_seen_through(
    tmp_path: Path,
) -> None:
    weights = {name: each.clone() for name, each in SEResNeXt50().state_dict().items()}
    weights["last_linear.weight"], weights["last_linear.bias"] = torch.zeros(7, 2048), torch.zeros(7)
    path = tmp_path / "tuned.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    found = inspect_model(path)
    assert found.metadata == {"format": "pt"}
    assert found.architectures == ("timm legacy_seresnext50_32x4d",)
    assert found.same == "names and shapes"
    assert f"  assay init {path} --like timm/legacy_seresnext50_32x4d" in found.next
    inspect_model(path, like="timm/legacy_seresnext50_32x4d", record_path=tmp_path / "tuned.toml")
    record = read_model_record(f"{tmp_path / 'tuned.toml'}")
    assert (record.output.class_count, record.output.class_names) == (7, ())
    assert (record.architecture, record.published_accuracy) == ("timm/legacy_seresnext50_32x4d", ())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadCheckpointError, match=r"expected .* bytes"):
        inspect_model(path)


def test_an_exported_classifier_is_recognised_although_its_batch_normalisation_is_folded(
    tmp_path: Path,
) -> None:
    network = SEResNeXt50().eval()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(len(name))) + 0.1)
    path = tmp_path / "folded.onnx"
    with warnings.catch_warnings(action="ignore"):  # of the older exporter, which needs no onnxscript
        torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), path, dynamo=False)
    found = inspect_model(path)
    assert "timm legacy_seresnext50_32x4d" in found.architectures
    assert found.same == "shapes"
    assert found.multiply_adds is not None
    assert 4.2e9 < found.multiply_adds < 4.3e9  # timm: 4.26 GMACs


def test_no_record_is_drawn_from_a_checkpoint_alone(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="do not say how its images are prepared"):
        inspect_model(tmp_path / "w.pth", record_path=tmp_path / "record.toml")


def test_of_twins_that_differ_in_padding_the_one_that_pads_as_the_graph_does_is_named(golden: Path) -> None:
    found = inspect_model(
        golden / "efficientnet_lite0" / "model.onnx", like="timm/tf_efficientnet_lite0.in1k"
    )
    assert found.architectures == ("timm tf_efficientnet_lite0",)
    assert found.open == ()
    assert {line.key: line.value for line in found.record}["preprocessing.mean"] == (0.5, 0.5, 0.5)


def test_a_folder_of_the_hub_is_shown_with_the_files_that_say_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    facts = {"input_size": [3, 96, 96], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    config = {
        "architecture": "resnet18",
        "num_classes": 2,
        "label_names": ["a", "b"],
        "pretrained_cfg": facts,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"fc.weight": torch.zeros(2, 512)}, folder / "model.safetensors")
    found = inspect_model(folder, given=["preprocessing.resize_side=96"], record_path=tmp_path / "r.toml")
    assert (found.form, found.tensor_count, found.parameter_count) == ("timm folder", 1, 1024)
    sources = {line.key: line.source for line in found.record}
    assert sources["output.class_names"] == "config.json: label_names"
    assert sources["preprocessing.resize_side"] == "given with --set"
    record = read_model_record(str(tmp_path / "r.toml"))
    assert (record.preprocessing.resize_side, record.output.class_names) == (96, ("a", "b"))
    with pytest.raises(UsageError, match="--like"):
        inspect_model(folder, like="se_resnext50_32x4d")
