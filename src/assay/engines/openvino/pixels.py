"""An OpenVINO model that takes images or pixels, whatever its network takes, and the check that it may."""

from __future__ import annotations

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from assay.arrays import Pixels
from assay.engines.engine import Session
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord

LARGEST_DIFFERENCE = 1e-4  # of any logit
_GRAINS = (1, 2, 4, 8, 16, 32, 64, 128)  # sides of the squares of one colour, in pixels


def take_images(model: openvino.Model, record: ModelRecord) -> openvino.Model:
    """Return the model so that it takes images, float32 (N, channels, height, width)."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.f32).set_layout(openvino.Layout("NCHW"))
    steps.input().model().set_layout(openvino.Layout(record.input.layout))
    return steps.build()


def normalise_in_graph(model: openvino.Model, record: ModelRecord) -> openvino.Model:
    """Return the model with the record's normalisation first; it takes uint8 (N, height, width, channels).

    A network of uint8 gets the pixels as they are.
    """
    preprocessing = record.preprocessing
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout(record.input.layout))
    if record.input.colour_order == "BGR":
        steps.input().preprocess().reverse_channels()
    if record.input.dtype == "uint8":
        return steps.build()
    steps.input().preprocess().convert_element_type(openvino.Type.f32)
    steps.input().preprocess().scale(preprocessing.pixel_scale)
    steps.input().preprocess().mean(list(preprocessing.mean)).scale(list(preprocessing.std))
    if preprocessing.std_twice:
        steps.input().preprocess().scale(list(preprocessing.std))
    return steps.build()


def gives_the_same(for_images: Session, for_pixels: Session, record: ModelRecord) -> bool:
    """Whether two sessions of a model have the same Top-1 and, within 1e-4, the same logits.

    They are given pictures of noise, from fine grain to coarse.
    """
    for picture in _draw_noise(record):
        pixels = picture[np.newaxis]  # (1, H, W, 3)
        by_host, by_graph = for_images.run(normalise_pixels(pixels, record)), for_pixels.run(pixels)
        differences = np.abs(by_host - by_graph)  # (1, classes)
        # probabilities are small: of them the difference counts relatively to the largest
        largest = LARGEST_DIFFERENCE * (1 if record.output.scores == "logits" else by_host.max())
        if np.argmax(by_host) != np.argmax(by_graph) or not (differences <= largest).all():
            return False
    return True


def _draw_noise(record: ModelRecord) -> list[Pixels]:
    """Return pictures of random squares, uint8 (height, width, channels) each, all values among them."""
    rng = np.random.default_rng(0)
    height, width, channels = record.input.height, record.input.width, record.input.channels
    pictures = []
    for grain in _GRAINS:
        squares = rng.integers(0, 256, (-(-height // grain), -(-width // grain), channels), dtype=np.uint8)
        picture = squares.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width]
        pictures.append(np.ascontiguousarray(picture))  # (height, width, channels)
    return pictures
