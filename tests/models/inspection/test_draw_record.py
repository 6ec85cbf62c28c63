"""The record that is drawn from a file: what is known, what is a guess, what is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.errors import BadModelError, UsageError
from assay.models.inspection.draw_record import draw_record
from assay.models.inspection.facts import read_network_facts
from assay.models.inspection.record_lines import Lines, build_record, list_open, parse_lines
from assay.models.inspection.record_text import write_drawn_record
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from onnx_forms import CHANNELS_LAST, FLOAT, INT64, UINT8, make_node, write_classifier

PLAIN_OPEN = [
    "preprocessing.resize",
    "preprocessing.resize_filter",
    "preprocessing.mean",
    "preprocessing.std",
]


def draw(
    tmp_path: Path, *, like: ModelRecord | None = None, given: Lines | None = None, **form: Any
) -> Lines:
    facts = read_network_facts(write_classifier(tmp_path / "my net.onnx", **form))
    return draw_record(facts, like, given)


def name_open(lines: Lines) -> list[str]:
    return [line.key for line in list_open(lines)]


def test_a_plain_file_leaves_its_preprocessing_open_and_guesses_nothing_but_rgb(tmp_path: Path) -> None:
    lines = draw(tmp_path)
    assert name_open(lines) == PLAIN_OPEN
    assert [line.key for line in lines.values() if line.state == "guess"] == ["input.colour_order"]
    known = {key: lines[key].value for key in ("name", "input.name", "output.name", "output.class_count")}
    assert known == {
        "name": "my_net",
        "input.name": "x",
        "output.name": "logits",
        "output.class_count": 1000,
    }
    with pytest.raises(UsageError, match=r"open in preprocessing\.resize"):
        build_record(lines)


def test_a_record_that_it_is_like_fills_what_is_open_and_the_file_keeps_the_rest(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    record = build_record(draw(tmp_path, like=se_resnext50))
    assert record.preprocessing == se_resnext50.preprocessing
    assert (record.input.name, record.output.name) == ("x", "logits")


def test_a_network_that_normalises_itself_keeps_its_own_values_beside_a_record_that_it_is_like(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    lines = draw(
        tmp_path,
        like=se_resnext50,
        front=[make_node("Cast", ["x"], ["f"], to=FLOAT), make_node("Div", ["f", "d"], ["seen"])],
        constants={"d": np.float32(255)},
        dtype=UINT8,
    )
    record = build_record(lines)
    assert (record.input.dtype, record.preprocessing.pixel_scale) == ("uint8", 1)
    assert (record.preprocessing.mean, record.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    assert record.preprocessing.resize_side == 256


@pytest.mark.parametrize(
    ("mean", "std", "pixel_scale"),
    [
        ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], None),
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], 1.0),
        ([123.68, 116.78, 103.94], [1, 1, 1], 1.0),
    ],
)
def test_the_constants_in_the_graph_tell_whether_it_takes_0_to_1_or_0_to_255(
    tmp_path: Path, mean: list[float], std: list[float], pixel_scale: float | None
) -> None:
    lines = draw(
        tmp_path,
        front=[make_node("Sub", ["x", "m"], ["a"]), make_node("Div", ["a", "s"], ["seen"])],
        constants={
            "m": np.array(mean, np.float32).reshape(1, 3, 1, 1),
            "s": np.array(std, np.float32).reshape(1, 3, 1, 1),
        },
    )
    scale = lines.get("preprocessing.pixel_scale")
    assert (scale.value if scale else None) == pixel_scale
    assert (lines["preprocessing.mean"].value, lines["preprocessing.std"].value) == ((0, 0, 0), (1, 1, 1))
    assert name_open(lines) == PLAIN_OPEN[:2]


@pytest.mark.parametrize("operator", ["BatchNormalization", "Mul"])
def test_first_nodes_that_do_not_tell_the_range_leave_mean_and_std_open_even_beside_a_like_record(
    tmp_path: Path, operator: str, se_resnext50: ModelRecord
) -> None:
    inputs = ["x", "g", "b", "m", "v"] if operator == "BatchNormalization" else ["x", "g"]
    lines = draw(
        tmp_path,
        like=se_resnext50,
        front=[make_node(operator, inputs, ["seen"])],
        constants={name: np.full(3 if len(inputs) > 2 else (3, 1, 1), 2, np.float32) for name in "gbmv"},
    )
    assert name_open(lines) == ["preprocessing.mean", "preprocessing.std"]


def test_of_tensorflow_the_background_class_is_a_guess_and_the_layout_is_known(tmp_path: Path) -> None:
    lines = draw(
        tmp_path,
        front=[make_node("Transpose", ["x"], ["seen"], perm=[0, 3, 1, 2])],
        shape=CHANNELS_LAST,
        class_count=1001,
    )
    assert (lines["input.layout"].value, lines["input.layout"].state) == ("NHWC", "known")
    assert (lines["output.label_offset"].value, lines["output.label_offset"].state) == (1, "guess")


def test_sizes_that_are_free_and_heads_of_one_depth_are_open(tmp_path: Path) -> None:
    lines = draw(
        tmp_path,
        shape=["n", 3, "h", "w"],
        back=[make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["dist"], transB=1)],
        outputs={"logits": (FLOAT, ["n", 1000]), "dist": (FLOAT, ["n", 1000])},
    )
    left = name_open(lines)
    assert {"input.height", "input.width", "output.name"} <= set(left)
    assert [one.lines for one in lines["output.name"].likely] == [('name = "logits"',), ('name = "dist"',)]


def test_argmax_is_open_with_the_reason(tmp_path: Path) -> None:
    back = [make_node("ArgMax", ["logits"], ["out"], axis=1)]
    line = draw(tmp_path, back=back, outputs={"out": (INT64, ["n", 1])})["output.name"]
    assert line.state == "open"
    assert "ArgMax keeps no score for each class" in line.source


def test_a_softmax_over_the_batch_leaves_the_output_open(tmp_path: Path) -> None:
    back = [make_node("Softmax", ["logits"], ["out"], axis=0)]
    line = draw(tmp_path, back=back, outputs={"out": (FLOAT, ["n", 1000])})["output.name"]
    assert line.state == "open"
    assert "over the images of a batch" in line.source


ULTRALYTICS = {
    "author": "Ultralytics",
    "task": "classify",
    "imgsz": "[64, 64]",
    "names": "{0: 'cat', 1: 'dog', 2: \"hen's\"}",
}


def draw_ultralytics(tmp_path: Path, version: str, **changes: str) -> Lines:
    return draw(
        tmp_path,
        shape=["n", 3, "h", "w"],
        back=[make_node("Softmax", ["logits"], ["output0"])],
        outputs={"output0": (FLOAT, ["n", 3])},
        class_count=3,
        metadata={**ULTRALYTICS, "version": version, **changes},
    )


def test_ultralytics_exports_leave_nothing_open(tmp_path: Path) -> None:
    lines = draw_ultralytics(tmp_path, "8.3.160")
    record = build_record(lines)
    assert record.output.class_names == ("cat", "dog", "hen's")
    assert record.output.scores == "probabilities"
    made = record.preprocessing
    assert (made.resize, made.resize_side, made.crop_size, made.crop_rounding) == (
        "short side",
        64,
        64,
        "torchvision",
    )
    assert (made.resize_filter, made.sampling, made.pixel_scale) == ("bilinear", "pillow", 255)
    assert (made.mean, made.std) == ((0, 0, 0), (1, 1, 1))
    assert all(line.state != "guess" for line in lines.values())


def test_ultralytics_8_0_crops_first_and_resizes_as_opencv(tmp_path: Path) -> None:
    made = build_record(draw_ultralytics(tmp_path, "8.0.196")).preprocessing
    assert (made.square_first, made.resize, made.sampling) == (True, "squash", "opencv")


@pytest.mark.parametrize("changes", [{"version": "9.0.0"}, {"imgsz": "[64, 96]"}, {"task": "detect"}])
def test_ultralytics_that_is_not_known_leaves_the_geometry_open(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    assert "preprocessing.resize" in name_open(draw_ultralytics(tmp_path, **{"version": "8.3.0", **changes}))


@pytest.mark.parametrize(
    "names", ["{0: __import__('os').system('true')}", "{0: 'a', 2: 'b', 3: 'c'}", "[1", ""]
)
def test_names_that_are_not_a_literal_or_do_not_fit_are_passed_over(tmp_path: Path, names: str) -> None:
    assert "output.class_names" not in draw_ultralytics(tmp_path, "8.3.0", names=names)


def test_paddles_list_of_characters_names_the_classes(tmp_path: Path) -> None:
    lines = draw(tmp_path, class_count=4, metadata={"character": "0\n90\n180\n270"})
    assert lines["output.class_names"].value == ("0", "90", "180", "270")


def test_onnxs_own_entries_of_the_image_are_read(tmp_path: Path) -> None:
    lines = draw(
        tmp_path,
        metadata={"Image.BitmapPixelFormat": "Bgr8", "image.nominalpixelrange": "Normalized_0_1"},
    )
    assert lines["input.colour_order"].value == "BGR"
    assert lines["preprocessing.mean"].value == (0, 0, 0)
    assert name_open(lines) == PLAIN_OPEN[:2]


def test_a_written_record_is_refused_until_its_open_lines_are_there(tmp_path: Path) -> None:
    path = tmp_path / "record.toml"
    text = write_drawn_record(draw(tmp_path), "my net.onnx")
    path.write_text(text)
    with pytest.raises(BadModelError) as caught:
        read_model_record(str(path))
    assert "still open: preprocessing.resize, preprocessing.resize_filter" in caught.value.message
    assert "# guess: nearly all; Caffe's" in text
    for key in (
        'resize = "short side"',
        "resize_side",
        "crop_size",
        'resize_filter = "bil',
        "mean = [0.485",
        "std = [0.229",
    ):
        text = text.replace(f"# {key}", key, 1)
    path.write_text(text)
    record = read_model_record(str(path))
    assert record.preprocessing.resize_side == 256
    assert record.preprocessing.std == (0.229, 0.224, 0.225)


def test_what_the_user_gives_comes_first(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    given = parse_lines(["preprocessing.mean=[0.5, 0.5, 0.5]", "input.colour_order=BGR", "name=mine"])
    record = build_record(draw(tmp_path, like=se_resnext50, given=given))
    assert (record.name, record.input.colour_order, record.preprocessing.mean) == (
        "mine",
        "BGR",
        (0.5, 0.5, 0.5),
    )


@pytest.mark.parametrize("text", ["mean", "preprocessing.means=[1]", "=1", "name="])
def test_lines_that_no_record_has_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_lines([text])
