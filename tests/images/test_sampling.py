"""Sampling without antialiasing, against OpenCV, and against ONNX Runtime's and TensorFlow's own numbers."""

from __future__ import annotations

from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.arrays import Pixels
from assay.images.prepare import prepare_into
from assay.images.resample import Crop
from assay.images.resize import resize_and_crop
from assay.images.sampling import sample_crop
from assay.models.pixel_values import normalise_pixels, recover_pixels
from assay.models.preprocessing import Preprocessing
from assay.models.record import ModelRecord

OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
SIZES = st.one_of(st.integers(1, 40), st.integers(1, 300))


def draw_pixels(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def take_all(new_width: int, new_height: int, resize_filter: str) -> Crop:
    return Crop(
        new_width=new_width, new_height=new_height, left=0, top=0, width=new_width, height=new_height,
        resize_filter=resize_filter,
    )  # fmt: skip


@settings(max_examples=100)
@given(width=SIZES, height=SIZES, new_width=SIZES, new_height=SIZES)
@pytest.mark.parametrize("resize_filter", ["nearest", "bilinear", "area"])
def test_opencvs_sampling_has_its_bits(
    resize_filter: str, width: int, height: int, new_width: int, new_height: int
) -> None:
    pixels = draw_pixels(width, height)
    expected = cv2.resize(pixels, (new_width, new_height), interpolation=OPENCV[resize_filter])
    found = sample_crop(pixels, take_all(new_width, new_height, resize_filter), "opencv")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 2), (1, 3), (2, 1), (49, 5)])
@pytest.mark.parametrize("resize_filter", ["bilinear", "area"])
def test_whole_factors_have_opencvs_bits(resize_filter: str, factors: tuple[int, int]) -> None:
    pixels = draw_pixels(7 * factors[0], 11 * factors[1])
    expected = cv2.resize(pixels, (7, 11), interpolation=OPENCV[resize_filter])
    np.testing.assert_array_equal(sample_crop(pixels, take_all(7, 11, resize_filter), "opencv"), expected)


# Packages of OpenCV for Intel's processors have another bicubic, which is within 1 of the portable one.
@settings(max_examples=40)
@given(width=SIZES, height=SIZES, new_width=SIZES, new_height=SIZES)
def test_opencvs_bicubic_is_within_one(width: int, height: int, new_width: int, new_height: int) -> None:
    pixels = draw_pixels(width, height)
    expected = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_CUBIC)
    found = sample_crop(pixels, take_all(new_width, new_height, "bicubic"), "opencv")
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def resize_by_onnx_runtime(pixels: Pixels, crop: Crop, **attributes: Any) -> npt.NDArray[np.float32]:
    """The picture, float32 (height, width, 3), by the operator that was made after TensorFlow's."""
    values = pixels.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    shape = (1, 3, crop.new_height, crop.new_width)
    sizes = onnx.numpy_helper.from_array(np.array(shape), "sizes")
    node = onnx.helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "resize",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, values.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [sizes],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made: npt.NDArray[np.float32] = session.run(None, {"x": values})[0][0].transpose(1, 2, 0)
    return made


# TensorFlow takes bicubic weights from a table of 1,024 steps, so that they differ from the exact ones.
@pytest.mark.parametrize(
    ("sampling", "resize_filter", "attributes", "allowed"),
    [
        ("tensorflow", "bilinear", {"mode": "linear"}, 0.02),
        ("tensorflow 1", "bilinear", {"mode": "linear"}, 0.02),
        ("tensorflow", "bicubic", {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}, 0.6),
        ("tensorflow 1", "bicubic", {"mode": "cubic", "cubic_coeff_a": -0.75}, 0.6),
        ("tensorflow 1", "nearest", {"mode": "nearest", "nearest_mode": "floor"}, 0),
    ],
)
@pytest.mark.parametrize("sizes", [(97, 61, 224, 224), (200, 331, 64, 97), (33, 80, 50, 40)])
def test_tensorflows_sampling_is_that_of_onnx_runtime(
    sizes: tuple[int, int, int, int],
    sampling: str,
    resize_filter: str,
    attributes: dict[str, Any],
    allowed: float,
) -> None:
    pixels = draw_pixels(*sizes[:2])
    crop = take_all(sizes[2], sizes[3], resize_filter)
    centres = "half_pixel" if sampling == "tensorflow" else "asymmetric"
    expected = resize_by_onnx_runtime(pixels, crop, coordinate_transformation_mode=centres, **attributes)
    found = sample_crop(pixels, crop, sampling)
    assert found.dtype == (np.uint8 if resize_filter == "nearest" else np.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


# From TensorFlow's image_ops_test.py (testResizeUp, before and since version 2; testResizeUpBicubic).
SMALL = [64, 32, 32, 64, 50, 100]


@pytest.mark.parametrize(
    ("sampling", "resize_filter", "expected"),
    [
        (
            "tensorflow",
            "bilinear",
            [64, 56, 40, 32, 56, 52, 44, 40, 40, 44, 52, 56, 36.5, 45.625, 63.875, 73],
        ),
        ("tensorflow 1", "bilinear", [64, 48, 32, 32, 48, 48, 48, 48, 32, 48, 64, 64, 41, 61.5, 82, 82]),
        ("tensorflow", "nearest", [64, 64, 32, 32, 64, 64, 32, 32, 32, 32, 64, 64, 32, 32, 64, 64]),
        ("tensorflow 1", "nearest", [64, 64, 32, 32, 64, 64, 32, 32, 32, 32, 64, 64, 32, 32, 64, 64]),
    ],
)
def test_tensorflows_own_examples_have_its_values(
    sampling: str, resize_filter: str, expected: list[float]
) -> None:
    pixels = np.array(SMALL, dtype=np.uint8).reshape(3, 2, 1)
    found = sample_crop(pixels, take_all(4, 6, resize_filter), sampling)
    np.testing.assert_array_equal(found.ravel()[:16], expected)


def test_tensorflow_1s_bicubic_example_has_its_values() -> None:
    pixels = np.array(
        [
            [128, 128, 64, 64, 128, 128], [64, 64, 64, 64, 128, 128], [64, 64, 128, 128, 50, 50],
            [100, 100, 50, 50, 100, 100], [50, 50, 100, 100, 50, 50], [100, 100, 50, 50, 100, 100],
        ],
        dtype=np.uint8,
    )[:, :, np.newaxis]  # fmt: skip
    found = sample_crop(pixels, take_all(8, 8, "bicubic"), "tensorflow 1")
    expected = [[128, 135, 96, 55, 64, 114, 134, 128], [78, 81, 68, 52, 57, 118, 144, 136]]
    np.testing.assert_allclose(found[:2, :, 0], expected, rtol=0, atol=1)


@settings(max_examples=60)
@given(
    new_size=st.tuples(st.integers(10, 90), st.integers(10, 90)),
    place=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    sampling=st.sampled_from(["opencv", "tensorflow", "tensorflow 1"]),
    resize_filter=st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
def test_a_crop_is_a_part_of_the_whole(
    new_size: tuple[int, int], place: tuple[int, int], sampling: str, resize_filter: str
) -> None:
    pixels = draw_pixels(60, 50)
    whole = take_all(*new_size, resize_filter)
    crop = Crop(
        new_width=new_size[0], new_height=new_size[1], left=place[0], top=place[1], width=5, height=4,
        resize_filter=resize_filter,
    )  # fmt: skip
    part = sample_crop(pixels, whole, sampling)[place[1] : place[1] + 4, place[0] : place[0] + 5]
    np.testing.assert_array_equal(sample_crop(pixels, crop, sampling), part)


@pytest.fixture
def slim(se_resnext50: ModelRecord) -> ModelRecord:
    """The preprocessing of TF-slim's Inception."""
    preprocessing = Preprocessing(
        central_fraction=0.875, resize="squash", resize_size=(224, 224), resize_filter="bilinear",
        sampling="tensorflow 1", pixel_scale=127.5, mean=(1, 1, 1), std=(1, 1, 1),
    )  # fmt: skip
    return msgspec.structs.replace(se_resnext50, preprocessing=preprocessing)


def test_fractions_of_pixels_are_normalised_unrounded(slim: ModelRecord) -> None:
    pixels = draw_pixels(300, 200)
    row = np.empty((3, 224, 224), dtype=np.float32)
    prepare_into(pixels, slim, row)
    made = resize_and_crop(pixels, slim.preprocessing)
    assert made.dtype == np.float32
    assert (made != np.rint(made)).mean() > 0.5
    np.testing.assert_array_equal(row, (made / np.float32(127.5) - 1).transpose(2, 0, 1))
    assert normalise_pixels(made, slim).tobytes() == row.tobytes()


def test_fractions_never_become_pixels(slim: ModelRecord) -> None:
    row = np.empty((224, 224, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="makes fractions of pixels"):
        prepare_into(draw_pixels(300, 200), slim, row)
    with pytest.raises(ValueError, match="makes fractions of pixels"):
        recover_pixels(np.zeros((1, 3, 224, 224), dtype=np.float32), slim)
    unscaled = msgspec.structs.replace(slim.preprocessing, pixel_scale=1, mean=(0, 0, 0))
    tensor = msgspec.structs.replace(slim.input, dtype="uint8")
    with pytest.raises(ValueError, match=r"input.dtype is uint8, but sampling = 'tensorflow 1' makes"):
        msgspec.structs.replace(slim, input=tensor, preprocessing=unscaled)


@pytest.mark.parametrize(("sampling", "resize_filter"), [("opencv", "area"), ("tensorflow", "bicubic")])
def test_a_picture_of_the_right_size_is_not_sampled_at_all(sampling: Any, resize_filter: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    made = Preprocessing(
        resize_side=32,
        resize_filter=resize_filter,
        sampling=sampling,
        crop_size=24,
        mean=(0,) * 3,
        std=(1,) * 3,
    )
    np.testing.assert_array_equal(resize_and_crop(pixels, made), pixels[4:28, 4:28])
