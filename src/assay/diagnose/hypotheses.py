"""The hypotheses: one thing each about how photographs should be shown to a network, the usual ones first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from assay.diagnose.view import Decoding, Family, Layout, Orientation, Photograph, View
from assay.models.preprocessing import Preprocessing

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# pixel_scale, mean, std of an RGB network: the constants in use (timm, torchvision, Keras, Caffe); where the
# graph normalises already, what is left to do is among them: nothing, or to divide by 255. What differs by
# less than images can tell is left out, such as 127 and 128 for 127.5
CONSTANTS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "ImageNet's mean and std": (255.0, IMAGENET_MEAN, IMAGENET_STD),
    "mean and std of 0.5": (255.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0 to 1, no mean": (255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0 to 255, not scaled": (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "CLIP's mean and std": (255.0, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "Caffe's means, not scaled": (1.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "DPN's mean and std": (255.0, (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    "mean of 0.5, not divided": (255.0, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
    "CIFAR-10's mean and std": (255.0, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
# Of networks that see grey, besides
GREY_CONSTANTS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "MNIST's mean and std": (255.0, (0.1307,), (0.3081,)),
}
ORIENTATIONS: tuple[Orientation, ...] = (
    "turned by 180",
    "turned left",
    "turned right",
    "transposed",
)
CROP_SHARES = (0.875, 1.0, 0.95, 0.9, 0.965)
FILTERS = ("bilinear", "bicubic", "lanczos", "box", "hamming", "nearest")


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One way in which the view may be wrong; `view` is the view that it says is right.

    `families` are those that it changes: one, or the two of "joint".
    """

    family: Family
    name: str
    view: View
    families: tuple[Family, ...] = ()

    def list_families(self) -> tuple[Family, ...]:
        """The families that it changes, one or two."""
        return self.families or (self.family,)


def list_hypotheses(
    view: View, photographs: Sequence[Photograph], outputs: Sequence[str] = ()
) -> list[Hypothesis]:
    """Every hypothesis that says something else than the view does, the usual ones of a family first.

    Args:
        view: How photographs are shown so far.
        photographs: Tell whether any is to be turned as EXIF says, or can be decoded at half its size.
        outputs: Names of the network's outputs that could be meant.
    """
    found = [*_vary_output(view, outputs), *_vary_colour(view), *_vary_values(view), *_vary_layout(view)]
    found += _vary_orientation(view, any(one.exif_orientation > 1 for one in photographs))
    found += _vary_decoding(view) if any(one.jpeg for one in photographs) else ()
    found += [*_vary_geometry(view), *_vary_filter(view)]
    return [one for one in found if one.view != view]


def list_joint_hypotheses(view: View) -> list[Hypothesis]:
    """Two of colour, values, layout and orientation at once: faults that bring chance hide one another."""
    ways = (_vary_colour, _vary_values, _vary_layout, _vary_turns)
    return [
        Hypothesis(
            family="joint",
            name=f"{one.name}; {two.name}",
            view=two.view,
            families=(one.family, two.family),
        )
        for first, second in itertools.combinations(ways, 2)
        for one in first(view)
        for two in second(one.view)
        if one.view != view and two.view != one.view
    ]


def _vary_output(view: View, outputs: Sequence[str]) -> Iterator[Hypothesis]:
    for name in outputs:
        output = msgspec.structs.replace(view.record.output, name=name)
        record = msgspec.structs.replace(view.record, output=output)
        yield Hypothesis(family="output", name=f"output {name}", view=replace(view, record=record))


def _vary_decoding(view: View) -> Iterator[Hypothesis]:
    other: Decoding = "half size" if view.decoding == "full size" else "full size"
    yield Hypothesis(family="decoding", name=f"JPEGs decoded at {other}", view=replace(view, decoding=other))


def _vary_colour(view: View) -> Iterator[Hypothesis]:
    order = view.record.input.colour_order
    if order != "grey":
        other = "BGR" if order == "RGB" else "RGB"
        tensor = msgspec.structs.replace(view.record.input, colour_order=other)
        record = msgspec.structs.replace(view.record, input=tensor)
        yield Hypothesis(
            family="colour", name=f"channels in the order {other}", view=replace(view, record=record)
        )


def _vary_values(view: View) -> Iterator[Hypothesis]:
    if view.record.input.dtype == "uint8":
        return
    count, is_bgr = view.record.input.channels, view.record.input.colour_order == "BGR"
    for name, (scale, mean, std) in {**CONSTANTS, **(GREY_CONSTANTS if count == 1 else {})}.items():
        order = slice(None, None, -1 if is_bgr else 1)
        changes = {"pixel_scale": scale, "mean": mean[order][:count], "std": std[order][:count]}
        yield Hypothesis(
            family="values", name=name, view=_change_preprocessing(view, std_twice=False, **changes)
        )
    made = view.record.preprocessing
    spans = [255 / made.pixel_scale / std**2 for std in made.std]
    if made.std_twice or (set(made.std) != {1.0} and 1 <= min(spans) <= max(spans) <= 100):
        name = "divided by std once" if made.std_twice else "divided by std twice"
        changed = _change_preprocessing(view, std_twice=not made.std_twice)
        yield Hypothesis(family="values", name=name, view=changed)


def _vary_layout(view: View) -> Iterator[Hypothesis]:
    if view.record.input.channels == 1:
        return
    other: Layout = "NHWC" if view.record.input.layout == "NCHW" else "NCHW"
    layout: Layout = other if view.layout == "as recorded" else "as recorded"
    name = f"values in the order {layout}" if layout != "as recorded" else "layout as recorded"
    yield Hypothesis(family="layout", name=name, view=replace(view, layout=layout))


def _vary_turns(view: View) -> Iterator[Hypothesis]:
    return _vary_orientation(view, has_exif=False)


def _vary_orientation(view: View, has_exif: bool) -> Iterator[Hypothesis]:
    usual: tuple[Orientation, ...] = ("as stored", "as EXIF says") if has_exif else ("as stored",)
    for orientation in (*usual, *ORIENTATIONS):
        name = f"pictures {orientation}"
        yield Hypothesis(family="orientation", name=name, view=replace(view, orientation=orientation))


def _vary_geometry(view: View) -> Iterator[Hypothesis]:
    """Resize and crop, of square networks."""
    side, made = view.record.input.height, view.record.preprocessing
    if side != view.record.input.width:
        return
    kept = made.resize_filter or "bilinear"
    plain = {"resize_filter": kept, "central_fraction": 1.0, "square_first": False, "crop_shape": None}
    for share in CROP_SHARES:
        resized = int(side / share)
        yield _geometry(
            view,
            f"short side {resized}, centre {side}",
            plain,
            resize="short side",
            resize_side=resized,
            crop_size=side,
        )
    yield _geometry(view, f"squashed to {side}", plain, resize="squash", resize_size=(side, side))
    resized = int(side / 0.875)
    yield _geometry(
        view,
        f"squashed to {resized}, centre {side}",
        plain,
        resize="squash",
        resize_size=(resized, resized),
        crop_size=side,
    )
    for colour, rgb in (("grey", (114, 114, 114)), ("black", (0, 0, 0))):
        name = f"letterbox, {colour} borders"
        yield _geometry(
            view, name, plain, resize="letterbox", resize_size=(side, side), crop_size=side, pad_colour=rgb
        )
    yield _geometry(
        view,
        "centre square, then resized",
        plain | {"square_first": True},
        resize="squash",
        resize_size=(side, side),
    )
    yield _geometry(
        view,
        "central 0.875, then squashed",
        plain | {"central_fraction": 0.875},
        resize="squash",
        resize_size=(side, side),
    )
    not_resized = plain | {"resize_filter": None, "sampling": "pillow"}
    yield _geometry(
        view, f"centre {side}, not resized", not_resized, resize="none", crop_size=side, pad_colour=(0, 0, 0)
    )


def _geometry(view: View, name: str, plain: dict[str, Any], **changes: Any) -> Hypothesis:
    unset = {"resize_side": None, "resize_size": None, "crop_size": None, "pad_colour": None}
    return Hypothesis(
        family="geometry", name=name, view=_change_preprocessing(view, **(plain | unset | changes))
    )


def _vary_filter(view: View) -> Iterator[Hypothesis]:
    if view.record.preprocessing.resize == "none":
        return
    for name in FILTERS:
        changed = _change_preprocessing(view, resize_filter=name, sampling="pillow")
        yield Hypothesis(family="filter", name=name, view=changed)
    for sampling, name in (("opencv", "bilinear"), ("opencv", "area"), ("tensorflow", "bilinear")):
        changed = _change_preprocessing(view, resize_filter=name, sampling=sampling)
        library = {"opencv": "OpenCV", "tensorflow": "TensorFlow"}[sampling]
        yield Hypothesis(family="filter", name=f"{name} as {library} samples", view=changed)


def _change_preprocessing(view: View, **changes: Any) -> View:
    made: Preprocessing = msgspec.structs.replace(view.record.preprocessing, **changes)
    return replace(view, record=msgspec.structs.replace(view.record, preprocessing=made))
