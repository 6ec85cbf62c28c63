"""Model records from the files of a folder, without the libraries that wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.engines.catalog import find_engine
from assay.engines.engine import CompileChoice
from assay.errors import BadCheckpointError, BadModelError, UsageError
from assay.models.choose_record import choose_record
from assay.models.hugging_face.draw_record import read_folder_lines, read_folder_record
from assay.models.hugging_face.folder import find_model_file, hash_weights, list_weight_files
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.workflows.models.compile import compile_model

VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 32,
    "image_size": 224,
    "id2label": {"0": "cat", "2": "dog", "1": "cow"},
    "torch_dtype": "float32",
    "_attn_implementation": "someone/kernel",
    "_name_or_path": "someone/vit",
    "transformers_version": "4.30.0",
}
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": 224, "image_mean": [0.4, 0.4, 0.4]}
TIMM = {
    "architecture": "convnext_tiny",
    "num_classes": 3,
    "label_names": ["cat", "cow", "dog"],
    "model_args": {"drop_path_rate": 0.1, "num_classes": 1000},
    "pretrained_cfg": {
        "tag": "mine",
        "input_size": [3, 224, 224],
        "interpolation": "bilinear",
        "crop_pct": 0.95,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "num_classes": 1000,
    },
}


def write(folder: Path, **files: Any) -> Path:
    """A folder with these JSON files, and weights that nobody reads."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_folder_of_transformers_gives_its_record(tmp_path: Path) -> None:
    record = choose_record("", write(tmp_path / "f", config=VIT, preprocessor_config=PROCESSOR))
    assert record.architecture == "transformers/ViTForImageClassification"
    assert record.architecture_options == {"hidden_size": 32, "image_size": 224}
    assert record.output.class_names == ("cat", "cow", "dog")
    assert (record.input.height, record.input.width, record.input.colour_order) == (224, 224, "RGB")
    assert record.preprocessing.resize == "squash"
    assert record.preprocessing.mean == (0.4, 0.4, 0.4)
    assert record.preprocessing.resize_filter == "bilinear"


def test_a_processor_may_stand_in_processor_config(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", config=VIT, processor_config={"image_processor": PROCESSOR})
    assert read_folder_record(folder).preprocessing.mean == (0.4, 0.4, 0.4)


def test_a_folder_of_timm_gives_its_record_with_the_outer_class_count(tmp_path: Path) -> None:
    record = choose_record("", write(tmp_path / "f", config=TIMM))
    assert record.architecture == "timm/convnext_tiny"
    assert record.name == "timm/convnext_tiny.mine"
    assert record.architecture_options == {"drop_path_rate": 0.1}
    assert record.output.class_count == 3
    assert record.output.class_names == ("cat", "cow", "dog")
    assert record.preprocessing.resize_side == 235
    assert record.preprocessing.crop_size == 224
    assert record.preprocessing.resize_filter == "bilinear"
    assert record.preprocessing.std == (0.4, 0.5, 0.6)


def test_a_flat_configuration_of_an_older_timm_is_read(tmp_path: Path) -> None:
    flat = {"architecture": "resnet18", "num_classes": 2, "labels": ["a", "b"], "input_size": [3, 96, 96]}
    record = read_folder_record(write(tmp_path / "f", config=flat))
    assert record.output.class_names == ("a", "b")
    assert (record.preprocessing.resize_side, record.input.height) == (109, 96)
    assert record.preprocessing.resize_filter == "bicubic"  # timm's own default


def test_each_line_says_which_file_it_is_from(tmp_path: Path) -> None:
    lines = read_folder_lines(write(tmp_path / "f", config=VIT, preprocessor_config=PROCESSOR))
    assert lines["output.class_names"].source == "config.json: id2label"
    assert lines["preprocessing.mean"].source == (
        "preprocessor_config.json: ViTImageProcessor, with the class's own resample, image_std"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": VIT | {"auto_map": {"AutoModel": "x.Y"}}}, "auto_map wants Python code"),
        ({"config": VIT}, "holds no preprocessor_config.json"),
        ({"config": VIT, "preprocessor_config": PROCESSOR | {"auto_map": {}}}, "auto_map"),
        ({"config": '{"a": 1 // a comment\n}'}, "cannot be read as JSON"),
        ({"config": {"architectures": None}, "preprocessor_config": PROCESSOR}, "KeyError: 'model_type'"),
        ({"config": VIT | {"id2label": {"0": "a", "2": "b"}}, "preprocessor_config": PROCESSOR}, "gaps"),
        ({"config": TIMM | {"label_names": ["a"]}}, "names 1 classes, the network has 3"),
        ({"config": TIMM | {"num_classes": 0}}, "no classifier"),
        ({"config": TIMM | {"pretrained_cfg": {"interpolation": "random"}}}, "'random'"),
        ({"config": TIMM | {"pretrained_cfg": {"std": [0.0, 1.0, 1.0]}}}, "not above 0"),
        ({"config": VIT, "preprocessor_config": PROCESSOR | {"do_resize": False}}, "a size of their own"),
    ],
)
def test_a_folder_that_gives_no_record_is_refused(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadModelError, match=message):
        choose_record("", write(tmp_path / "f", **files))


@pytest.mark.parametrize("model", ["google/vit-base-patch16-224", "hf/google/vit-base-patch16-224"])
def test_a_name_on_the_hub_is_refused_with_the_command_that_downloads_it(tmp_path: Path, model: str) -> None:
    with pytest.raises(BadModelError) as caught:
        choose_record(model, tmp_path / "weights.safetensors")
    assert "hf download google/vit-base-patch16-224 --local-dir DIR" in caught.value.hint


def test_weights_by_a_name_on_the_hub_are_refused_likewise() -> None:
    with pytest.raises(UsageError, match="are not downloaded") as caught:
        choose_record("", Path("google/vit-base-patch16-224"))
    assert caught.value.hint.startswith(
        "hf download google/vit-base-patch16-224 --local-dir vit-base-patch16-224"
    )


def test_a_named_record_stands_before_that_of_the_folder(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    folder = write(tmp_path / "f", config=TIMM)
    assert choose_record("se_resnext50_32x4d", folder) == se_resnext50


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    index = {
        "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}
    }
    folder = write(tmp_path / "f", config=VIT)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadCheckpointError, match=r"model-1.safetensors is missing"):
        list_weight_files(folder)
    for number in (1, 2):
        (folder / f"model-{number}.safetensors").write_bytes(bytes([number]))
    files = list_weight_files(folder)
    assert [file.name for file in files] == ["model-1.safetensors", "model-2.safetensors"]
    assert hash_weights(files) != hash_weights(files[::-1])


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "model.bin"])
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "f", config=VIT)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(BadCheckpointError, match="expected names of safetensors files"):
        list_weight_files(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", config=VIT, preprocessor_config=PROCESSOR)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadCheckpointError, match="holds no weights"):
        choose_record("", folder)


def test_an_onnx_file_is_taken_where_the_folder_has_no_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", config=VIT, preprocessor_config=PROCESSOR)
    assert find_model_file(folder) == folder
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"")
    assert find_model_file(folder) == folder / "onnx" / "model.onnx"


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "f")
    with pytest.raises(UsageError, match=r"holds no config.json"):
        choose_record("", folder)


def test_a_folder_with_weights_alone_is_not_compiled_but_exported_first(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    folder = write(tmp_path / "f", config=TIMM)
    options = find_engine("openvino").resolve(CompileChoice(), se_resnext50)
    with pytest.raises(BadModelError, match="holds a checkpoint, no ONNX file") as caught:
        compile_model(folder, tmp_path / "compiled", options, overwrite=False, listener=SILENT)
    assert f"assay export {folder}" in caught.value.hint
