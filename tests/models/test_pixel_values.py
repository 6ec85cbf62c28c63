from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from assay.arrays import Pixels
from assay.models.pixel_values import make_table, normalise_pixels, recover_pixels
from assay.models.record import ModelRecord
from conftest import give_colour_order


@pytest.fixture
def every_value() -> Pixels:
    """All 256 values in every channel, each channel in another order."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return np.stack([values, values.T, values[::-1]], axis=2)


def normalise_as_the_script_does(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The numpy operations of the original preprocess script, in its order."""
    image = np.array(pixels, dtype=np.float32)
    image = image.transpose(2, 0, 1)
    image /= 255.0
    image -= np.array([0.485, 0.456, 0.406], dtype=np.float32)[:, None, None]
    image /= np.array([0.229, 0.224, 0.225], dtype=np.float32)[:, None, None]
    return image


def test_every_value_has_the_bits_of_the_original_scripts_operations(
    every_value: Pixels, se_resnext50: ModelRecord
) -> None:
    image = normalise_pixels(every_value, se_resnext50)
    expected = normalise_as_the_script_does(every_value)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert image.tobytes() == expected.tobytes()


def test_every_value_is_within_rounding_of_the_formula(
    every_value: Pixels, se_resnext50: ModelRecord
) -> None:
    exact = every_value.transpose(2, 0, 1).astype(np.float64) / 255
    exact = (exact - np.reshape((0.485, 0.456, 0.406), (3, 1, 1))) / np.reshape(
        (0.229, 0.224, 0.225), (3, 1, 1)
    )
    np.testing.assert_allclose(normalise_pixels(every_value, se_resnext50), exact, rtol=0, atol=5e-7)


def test_a_bgr_network_gets_blue_first_and_the_constants_in_its_own_order(
    every_value: Pixels, se_resnext50: ModelRecord
) -> None:
    bgr = give_colour_order(se_resnext50, "BGR")
    swapped = np.ascontiguousarray(every_value[:, :, ::-1])
    assert normalise_pixels(every_value, bgr).tobytes() == normalise_as_the_script_does(swapped).tobytes()


def test_the_pixel_scale_divides_before_mean_and_std(every_value: Pixels, se_resnext50: ModelRecord) -> None:
    raw = msgspec.structs.replace(se_resnext50.preprocessing, pixel_scale=1.0, mean=(1, 2, 3), std=(1, 2, 4))
    image = normalise_pixels(every_value, msgspec.structs.replace(se_resnext50, preprocessing=raw))
    expected = (every_value.astype(np.float64) - (1, 2, 3)) / (1, 2, 4)  # exact in float32
    np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))


def test_the_pixels_that_were_given_are_left_as_they_were(
    every_value: Pixels, se_resnext50: ModelRecord
) -> None:
    kept = every_value.copy()
    normalise_pixels(every_value, se_resnext50)
    np.testing.assert_array_equal(every_value, kept)


@pytest.mark.parametrize("colour_order", ["RGB", "BGR"])
def test_pixels_come_back_exactly_from_their_normalised_values(
    every_value: Pixels, colour_order: str, se_resnext50: ModelRecord
) -> None:
    record = give_colour_order(se_resnext50, colour_order)
    batch = np.stack([every_value, every_value[::-1]])
    np.testing.assert_array_equal(recover_pixels(normalise_pixels(batch, record), record), batch)


TORCH_ARITHMETIC = {
    "divide": lambda values, mean, std: (values / 255 - mean) / std,
    "multiply": lambda values, mean, std: (values * (1 / 255) - mean) / std,
    "fused": lambda values, mean, std: (values - mean * 255.0) / (std * 255.0),
}


@pytest.mark.parametrize("std_twice", [False, True])
@pytest.mark.parametrize("arithmetic", TORCH_ARITHMETIC)
@pytest.mark.parametrize("colour_order", ["RGB", "BGR", "grey"])
def test_each_arithmetic_has_torchs_bits_and_can_be_turned_back(
    colour_order: str, arithmetic: str, std_twice: bool, every_value: Pixels, se_resnext50: ModelRecord
) -> None:
    channels = 1 if colour_order == "grey" else 3
    mean, std = (
        (0.48145466, 0.4578275, 0.40821073)[:channels],
        (0.26862954, 0.26130258, 0.27577711)[:channels],
    )
    preprocessing = msgspec.structs.replace(
        se_resnext50.preprocessing, mean=mean, std=std, arithmetic=arithmetic, std_twice=std_twice
    )
    tensor = msgspec.structs.replace(se_resnext50.input, channels=channels, colour_order=colour_order)
    record = msgspec.structs.replace(se_resnext50, input=tensor, preprocessing=preprocessing)
    pixels = np.ascontiguousarray(every_value[np.newaxis, :, :, :channels])
    ordered = pixels[..., ::-1].copy() if colour_order == "BGR" else pixels
    planes = torch.from_numpy(ordered).permute(0, 3, 1, 2).float()
    constants = [torch.tensor(values)[:, None, None] for values in (mean, std)]
    expected = TORCH_ARITHMETIC[arithmetic](planes, *constants)
    expected = expected / constants[1] if std_twice else expected
    images = normalise_pixels(pixels, record)
    assert images.tobytes() == expected.numpy().tobytes()
    np.testing.assert_array_equal(recover_pixels(images, record), pixels)
    table = make_table(preprocessing)
    assert table[:, ordered.reshape(-1, channels)[:, 0]][0].tobytes() == images[0, 0].tobytes()


def test_pixels_that_stay_pixels_come_back_exactly(every_value: Pixels, se_resnext50: ModelRecord) -> None:
    raw = msgspec.structs.replace(se_resnext50.preprocessing, pixel_scale=1, mean=(0, 0, 0), std=(1, 1, 1))
    record = msgspec.structs.replace(se_resnext50, preprocessing=raw)
    images = normalise_pixels(every_value[np.newaxis], record)
    np.testing.assert_array_equal(images[0], every_value.transpose(2, 0, 1))
    np.testing.assert_array_equal(recover_pixels(images, record)[0], every_value)
