"""Whether the images whose answers changed hang on how their JPEGs are decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType

import simplejpeg

from assay.arrays import Images, Logits
from assay.diagnose.changed_images import DecoderTrial
from assay.diagnose.evidence import find_answers
from assay.diagnose.view import Photograph, View, make_images

# libjpeg-turbo's own shortcuts, as video players, browsers and loaders for speed take them
_DECODERS = MappingProxyType(
    {
        "fast DCT": {"fastdct": True},
        "plain upsampling of colours": {"fastupsample": True},
        "both": {"fastdct": True, "fastupsample": True},
    }
)


def try_decoders(
    photographs: Sequence[Photograph], view: View, predict: Callable[[Images], Logits]
) -> tuple[DecoderTrial, ...]:
    """Which photographs get another answer by each of libjpeg-turbo's faster ways; none without JPEGs.

    Args:
        photographs: Those that are tried; others than JPEGs are left out.
        view: How they are shown.
        predict: The network, on images as `make_images` gives them.
    """
    jpegs = [one for one in photographs if _decode(one, {}) is not None]
    if not jpegs:
        return ()
    plain = find_answers(predict(make_images(jpegs, view)).astype(float))
    trials = []
    for name, options in _DECODERS.items():
        others = [_decode(one, options) or one for one in jpegs]
        answers = find_answers(predict(make_images(others, view)).astype(float))
        flipped = tuple(one.name for one, is_other in zip(jpegs, answers != plain, strict=True) if is_other)
        trials.append(DecoderTrial(name=name, image_count=len(jpegs), flipped=flipped))
    return tuple(trials)


def _decode(photograph: Photograph, options: dict[str, bool]) -> Photograph | None:
    """The photograph decoded so; None where it is no JPEG, or one of colours that are not converted so."""
    if not photograph.jpeg:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(photograph.jpeg, "RGB", **options)
    except ValueError:
        return None
    return replace(photograph, stored=pixels, jpeg=b"")
