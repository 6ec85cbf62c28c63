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


def check_neighbours(run: Callable[[Images], Logits], compiled: CompiledModel, source: Path) -> None:
    """Refuse a network whose logits of an image depend on the images beside it, or on chance.

    Args:
        run: Runs a batch, whole, in the compiled model.
        compiled: The batch size that it is compiled for, the precision, the record.
        source: Its ONNX file, for the message.

    Raises:
        FixedBatchError: It runs single images, but no batches.
        BadModelError: The logits of one image differ.
        EngineError: It does not run at all.
    """
    image, *others = _draw_images(compiled.model)
    alone, again = run(image)[0], run(image)[0]  # (classes,)
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
