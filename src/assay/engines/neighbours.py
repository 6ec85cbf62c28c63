"""Whether a network gives an image the same logits alone, again, and beside other images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from assay.arrays import Images, Logits
from assay.engines.compiled_model import CompiledModel
from assay.errors import AssayError, BadModelError, FixedBatchError
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord

LARGEST_SIZE = 2
# Of the range of an image's logits: engines sum in another order for another batch size.
_TOLERANCE = {"fp32": 1e-3}
_REDUCED_TOLERANCE = 0.1
_OUTSIDE = 1e-3  # of 0 and 1, by rounding
_SUM_TOLERANCE = 0.02  # of 1000 probabilities in float16


def check_neighbours(run: Callable[[Images], Logits], compiled: CompiledModel, source: Path) -> None:
    """Refuse a network whose logits of an image depend on the images beside it, or on chance.

    Args:
        run: Runs a batch, whole, in the compiled model.
        compiled: The batch size that it is compiled for, the precision, the record.
        source: Its ONNX file, for the message.

    Raises:
        FixedBatchError: It runs single images, but no batches.
        BadModelError: The logits of one image differ, or are not what the record says that they are.
        EngineError: It does not run at all.
    """
    image, *others = _draw_images(compiled.model)
    alone, again = run(image)[0], run(image)[0]  # (classes,)
    _check_scores(alone, compiled, source)
    _check_same(alone, again, compiled, source, "when it is run again")
    if compiled.batch_size == 1:
        return
    size = min(compiled.batch_size or LARGEST_SIZE, LARGEST_SIZE)
    for other in others:
        batch = np.concatenate([other] * (size - 1) + [image])  # (size, channels, height, width)
        try:
            beside = run(batch)[-1]
        except AssayError as error:
            if compiled.batch_size is not None:
                raise
            raise FixedBatchError(source, 1) from error
        _check_same(alone, beside, compiled, source, f"in a batch of {size}")


def _check_scores(scores: Logits, compiled: CompiledModel, source: Path) -> None:
    """Refuse scores, (classes,), that are no probabilities or no sigmoid's where the record says so.

    An int8 network may round a thousand small probabilities to 0, so their sum tells nothing there.
    """
    stated = compiled.model.output.scores
    if stated == "logits" or not np.isfinite(scores).all():
        return
    low, high, total = float(scores.min()), float(scores.max()), float(scores.sum())
    fits = low >= -_OUTSIDE and high <= 1 + _OUTSIDE
    if stated == "probabilities" and compiled.precision != "int8":
        fits = fits and abs(total - 1) <= _SUM_TOLERANCE
    if not fits:
        raise BadModelError(
            f"{source}: the model record says output.scores = '{stated}'; the network's outputs of a drawn "
            f"image lie between {low:.3g} and {high:.3g} and sum to {total:.3g}",
            hint="set output.scores to what they are: logits, probabilities (of a softmax: they sum to 1) or "
            "sigmoid (0 to 1)",
        )


def _check_same(expected: Logits, found: Logits, compiled: CompiledModel, source: Path, when: str) -> None:
    """Refuse logits, (classes,), that differ. Not-a-number in both is the same: images are failed for it."""
    tolerance = _TOLERANCE.get(compiled.precision, _REDUCED_TOLERANCE)
    finite = expected[np.isfinite(expected)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    allowed = tolerance * spread + 1e-6 * float(np.abs(finite).max(initial=0.0))
    if np.allclose(expected, found, rtol=0, atol=allowed, equal_nan=True):
        return
    difference = float(np.abs(expected - found).max())
    raise BadModelError(
        f"{source}: the network gives the same image other logits {when} than alone: they differ by up to "
        f"{difference:.3g}, of a range of {spread:.3g}",
        hint="export it in evaluation mode (model.eval()); batch normalisation by the batch, dropout and "
        "anything else that mixes the images of a batch or draws at random must not be in it",
    )


def _draw_images(record: ModelRecord) -> list[Images]:
    """Images, each float32 (1, channels, height, width): squares of random colours, white, fine noise."""
    rng = np.random.default_rng(0)
    height, width, channels = record.input.height, record.input.width, record.input.channels
    rows, columns = -(-height // 32), -(-width // 32)
    squares = rng.integers(0, 256, (rows, columns, channels), dtype=np.uint8)
    pictures = [
        squares.repeat(32, axis=0).repeat(32, axis=1)[:height, :width],
        np.full((height, width, channels), 255, dtype=np.uint8),
        rng.integers(0, 256, (height, width, channels), dtype=np.uint8),
    ]
    return [normalise_pixels(picture[np.newaxis], record) for picture in pictures]
