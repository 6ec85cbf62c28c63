"""Which model record goes with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from assay.errors import BadModelError, UsageError
from assay.models.choose_record import (
    RECORD_KEY,
    choose_record,
    describe_choice,
    list_sources,
    read_stored_record,
    store_record,
)
from assay.models.record import ModelRecord
from brightness_classifier import RECORD, make_brightness_classifier
from onnx_forms import FLOAT, make_node, write_classifier


@pytest.fixture
def record_toml(tmp_path: Path) -> Path:
    path = tmp_path / "brightness.toml"
    path.write_text(RECORD)
    return path


def test_an_onnx_file_without_a_record_is_refused_with_how_to_give_one(tmp_path: Path) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    with pytest.raises(UsageError) as caught:
        choose_record("", path)
    assert "--model NAME_OR_TOML" in caught.value.hint
    assert "assay help own-classifier" in caught.value.hint


def test_a_checkpoint_without_a_name_has_the_default_record(tmp_path: Path) -> None:
    assert choose_record("", tmp_path / "weights.pth").name == "se_resnext50_32x4d"


def test_a_stored_record_is_found_again_and_the_model_is_as_it_was(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    before = onnx.load(str(path))
    store_record(path, se_resnext50)
    assert choose_record("", path) == se_resnext50
    after = onnx.load(str(path))
    assert [entry.key for entry in after.metadata_props] == [RECORD_KEY]
    del after.metadata_props[:]
    assert after == before
    onnx.checker.check_model(str(path))


def test_a_named_record_comes_before_the_stored_one_and_that_is_said(
    tmp_path: Path, se_resnext50: ModelRecord, record_toml: Path
) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    store_record(path, se_resnext50)
    record = choose_record(str(record_toml), path)
    assert record.name == "brightness"
    assert "carries another model record, se_resnext50_32x4d" in describe_choice(record, path)[0]
    assert describe_choice(se_resnext50, path) == []


def test_a_stored_record_of_another_version_is_refused_and_can_be_replaced(
    tmp_path: Path, record_toml: Path
) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {RECORD_KEY: '{"schema_version": 99}'})
    onnx.save(model, str(path))
    with pytest.raises(BadModelError, match="model record stored in it cannot be read"):
        read_stored_record(path)
    assert choose_record(str(record_toml), path).name == "brightness"
    assert describe_choice(choose_record(str(record_toml), path), path) == []


def test_a_missing_onnx_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match="does not exist"):
        choose_record("", tmp_path / "none.onnx")


ULTRALYTICS = {"author": "Ultralytics", "task": "classify", "imgsz": "[64, 64]", "version": "8.3.160"}


def make_ultralytics(path: Path) -> Path:
    return write_classifier(
        path,
        shape=["n", 3, 64, 64],
        back=[make_node("Softmax", ["logits"], ["output0"])],
        outputs={"output0": (FLOAT, ["n", 3])},
        class_count=3,
        metadata={**ULTRALYTICS, "names": "{0: 'cat', 1: 'dog', 2: 'hen'}"},
    )


def test_a_file_that_leaves_nothing_open_needs_no_name_and_says_where_each_line_is_from(
    tmp_path: Path,
) -> None:
    path = make_ultralytics(tmp_path / "yolo.onnx")
    record = choose_record("", path)
    assert record.output.class_names == ("cat", "dog", "hen")
    sources = list_sources(record, path)
    assert "preprocessing.resize_side = 64 (ultralytics 8.3.160: short side to imgsz, Pillow)" in sources
    (note,) = describe_choice(record, path)
    assert note.startswith(f"the model record is drawn from {path}")
    assert 'output.class_names = ["cat", "dog", "hen"] (\'names\' in the file)' in note
    assert "the file's graph" not in note


def test_a_file_with_open_lines_is_refused_with_their_names_and_the_command_that_fills_them(
    tmp_path: Path,
) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    with pytest.raises(
        UsageError, match=r"open: preprocessing\.resize, preprocessing\.resize_filter"
    ) as caught:
        choose_record("", path)
    assert f"assay inspect {path} --like RECORD -o record.toml" in caught.value.hint


def test_a_record_that_normalises_what_the_graph_normalises_is_said_to_do_it_twice(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        front=[make_node("Sub", ["x", "m"], ["a"]), make_node("Div", ["a", "s"], ["seen"])],
        constants={"m": np.full((1, 3, 1, 1), 0.5, np.float32), "s": np.full((1, 3, 1, 1), 0.5, np.float32)},
    )
    (note,) = describe_choice(se_resnext50, path)
    assert "images are normalised twice" in note


def test_a_record_of_logits_for_a_file_that_ends_in_a_softmax_is_said(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        back=[make_node("Softmax", ["logits"], ["class"])],
        outputs={"class": (FLOAT, ["n", 1000])},
    )
    (note,) = describe_choice(se_resnext50, path)
    assert "ends in Softmax and holds probabilities" in note
