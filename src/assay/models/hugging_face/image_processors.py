"""What the image processors of transformers do to a picture, as preprocessing of a model record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from assay.errors import BadModelError, quote
from assay.models.preprocessing import HeightWidth, Preprocessing, Resize, ResizeFilter

Settings = Mapping[str, Any]
_HALF, _IMAGENET = ((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# Pillow's numbers of them
_FILTERS: dict[object, ResizeFilter] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
_SHORT, _SQUARE = "shortest_edge", "height"


def _describe(
    side: int, key: str, resample: int, values: tuple[tuple[float, ...], ...], **more: object
) -> dict[str, Any]:
    """A class's defaults: its size, by the short side or as a square, and what it does besides."""
    size = {_SHORT: side} if key == _SHORT else {"height": side, "width": side}
    settings = {"size": size, "resample": resample, "image_mean": values[0], "image_std": values[1]}
    steps = {
        "do_resize": True,
        "do_center_crop": "crop_size" in more,
        "do_rescale": True,
        "do_normalize": True,
    }
    return {**settings, **steps, "rescale_factor": 1 / 255, "default_to_square": key == _SQUARE, **more}


# The defaults of transformers 5.24.0, models/*/image_processing_pil_*.py
PROCESSORS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": _describe(224, _SQUARE, 2, _HALF),
    "DeiTImageProcessor": _describe(256, _SQUARE, 3, _HALF, crop_size=224),
    "BeitImageProcessor": _describe(224, _SQUARE, 3, _HALF, crop_size=224, do_center_crop=False),
    "ConvNextImageProcessor": _describe(384, _SHORT, 3, _HALF, crop_pct=224 / 256),
    "BitImageProcessor": _describe(224, _SHORT, 3, _CLIP, crop_size=224),
    "CLIPImageProcessor": _describe(224, _SHORT, 3, _CLIP, crop_size=224),
    "SiglipImageProcessor": _describe(224, _SQUARE, 3, _HALF, default_to_square=False),
    "LevitImageProcessor": _describe(224, _SHORT, 3, _IMAGENET, crop_size=224),
    "PoolFormerImageProcessor": _describe(224, _SHORT, 3, _IMAGENET, crop_size=224, crop_pct=0.9),
    "PvtImageProcessor": _describe(224, _SQUARE, 3, _IMAGENET),
    "MobileNetV1ImageProcessor": _describe(256, _SHORT, 2, _HALF, crop_size=224),
    "MobileNetV2ImageProcessor": _describe(256, _SHORT, 2, _HALF, crop_size=224),
    "MobileViTImageProcessor": _describe(
        224, _SHORT, 3, _HALF, crop_size=256, do_normalize=None, do_flip_channel_order=True
    ),
    "EfficientNetImageProcessor": _describe(
        346, _SQUARE, 3, _HALF, crop_size=289, do_center_crop=False, include_top=True, rescale_offset=False
    ),
    "SegformerImageProcessor": _describe(512, _SQUARE, 2, _IMAGENET),
}
_OF_MODEL_TYPE = {
    "ViTImageProcessor": "vit dinat ijepa swiftformer swin swinv2 vit_msn",
    "DeiTImageProcessor": "deit",
    "BeitImageProcessor": "beit data2vec-vision",
    "ConvNextImageProcessor": "convnext convnextv2 cvt regnet resnet",
    "BitImageProcessor": "bit dinov2 focalnet hiera",
    "CLIPImageProcessor": "clip metaclip_2",
    "SiglipImageProcessor": "siglip",
    "LevitImageProcessor": "levit",
    "PoolFormerImageProcessor": "poolformer",
    "PvtImageProcessor": "pvt pvt_v2",
    "MobileNetV1ImageProcessor": "mobilenet_v1",
    "MobileNetV2ImageProcessor": "mobilenet_v2",
    "MobileViTImageProcessor": "mobilevit mobilevitv2",
    "EfficientNetImageProcessor": "efficientnet",
    "SegformerImageProcessor": "segformer",
}


class Processed(NamedTuple):
    """What a processor does: the values, the order of the channels, and what its class decided."""

    preprocessing: Preprocessing
    colour_order: str
    class_name: str
    defaults: tuple[str, ...]


class _Geometry(NamedTuple):
    """What is left of a picture: resized how and to what, and what of it is kept."""

    resize: Resize
    side: int | None = None
    size: HeightWidth | None = None
    crop: HeightWidth | None = None


def read_processor(config: Settings, model_type: str) -> Processed:
    """What the processor of this configuration does with a picture, as transformers does it with Pillow.

    A key that is missing takes the default of the class; one that is null switches its step off.

    Args:
        config: Of preprocessor_config.json, or the part of processor_config.json.
        model_type: Of config.json: decides on the class where the processor's configuration does not.

    Raises:
        BadModelError: No class that is known here, or a step that no model record can say.
    """
    class_name = _find_class(config, model_type)
    if class_name not in PROCESSORS:
        raise _refuse(f"image processor {quote(class_name)} is not one that assay knows")
    defaults = PROCESSORS[class_name]
    settings = {**defaults, **{key: value for key, value in config.items() if key in _KEYS}}
    taken = tuple(key for key in ("size", "resample", "image_mean", "image_std") if key not in config)
    if settings.get("do_pad"):
        raise _refuse(f"{class_name} pads (do_pad)")
    geometry = _GEOMETRIES.get(class_name, _read_geometry)(settings)
    flips = bool(settings.get("do_flip_channel_order"))
    return Processed(_make_preprocessing(settings, geometry), "BGR" if flips else "RGB", class_name, taken)


_KEYS = frozenset({key for one in PROCESSORS.values() for key in one} - {"default_to_square"} | {"do_pad"})


def _find_class(config: Settings, model_type: str) -> str:
    found = config.get("image_processor_type")
    if found is None and "feature_extractor_type" in config:
        found = str(config["feature_extractor_type"]).replace("FeatureExtractor", "ImageProcessor")
    if found is None:
        by_type = {each: name for name, types in _OF_MODEL_TYPE.items() for each in types.split()}
        found = by_type.get(model_type, f"of {model_type}")
    return str(found).removesuffix("Fast").removesuffix("Pil")


def _refuse(what: str) -> BadModelError:
    return BadModelError(
        f"{what}, so the preprocessing is not known",
        hint="write it down yourself and give it: --model record.toml (assay help model-record)",
    )


def _read_size(settings: Settings) -> tuple[int | None, HeightWidth | None]:
    """The side that the short one becomes, or (height, width)."""
    size = settings["size"]
    if isinstance(size, int):
        return (None, (size, size)) if settings["default_to_square"] else (size, None)
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return None, (int(size[0]), int(size[1]))
    keys = {key for key, value in size.items() if value is not None} if isinstance(size, dict) else set()
    if keys == {"shortest_edge"}:
        return int(size["shortest_edge"]), None
    if keys == {"height", "width"}:
        return None, (int(size["height"]), int(size["width"]))
    raise _refuse(f"size is {quote(size)}")


def _read_crop(settings: Settings) -> HeightWidth | None:
    if not settings.get("do_center_crop"):
        return None
    size = settings.get("crop_size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {key for key in size if size[key] is not None} == {"height", "width"}:
        return int(size["height"]), int(size["width"])
    raise _refuse(f"crop_size is {quote(size)}")


def _read_geometry(settings: Settings) -> _Geometry:
    side, size = _read_size(settings) if settings["do_resize"] else (None, None)
    crop = _read_crop(settings)
    if side is None and size is None:
        return _Geometry("none", crop=crop)
    return _Geometry("short side" if side else "squash", side, size, crop)


def _read_convnext(settings: Settings) -> _Geometry:
    """Under 384 the short side is resized to more than is cropped; from 384 on the picture is squashed."""
    if settings.get("do_center_crop"):
        raise _refuse("ConvNextImageProcessor crops a second time (do_center_crop)")
    if not settings["do_resize"]:
        return _Geometry("none")
    side, _ = _read_size(settings)
    if side is None:
        raise _refuse(f"ConvNextImageProcessor with size {quote(settings['size'])}")
    if side >= 384:
        return _Geometry("squash", size=(side, side))
    return _Geometry("short side", int(side / settings["crop_pct"]), crop=(side, side))


def _read_levit(settings: Settings) -> _Geometry:
    geometry = _read_geometry(settings)
    return geometry._replace(side=int((256 / 224) * geometry.side)) if geometry.side else geometry


def _read_poolformer(settings: Settings) -> _Geometry:
    geometry, share = _read_geometry(settings), settings.get("crop_pct")
    if share is None or geometry.resize == "none":
        return geometry
    if geometry.side:
        return geometry._replace(side=int(geometry.side / share))
    assert geometry.size is not None
    height, width = geometry.size
    if height == width:
        return geometry._replace(resize="short side", side=int(height / share), size=None)
    return geometry._replace(size=(int(height / share), int(width / share)))


_GEOMETRIES: dict[str, Callable[[Settings], _Geometry]] = {
    "ConvNextImageProcessor": _read_convnext,
    "LevitImageProcessor": _read_levit,
    "PoolFormerImageProcessor": _read_poolformer,
}


def _make_preprocessing(settings: Settings, geometry: _Geometry) -> Preprocessing:
    resample = settings["resample"]
    if geometry.resize != "none" and resample not in _FILTERS:
        raise _refuse(f"resample is {quote(resample)}")
    scale, mean, std, twice = _read_values(settings)
    crop = geometry.crop
    is_square = crop is not None and crop[0] == crop[1]
    return Preprocessing(
        resize=geometry.resize,
        resize_side=geometry.side,
        resize_size=geometry.size,
        resize_filter=None if geometry.resize == "none" else _FILTERS[resample],
        crop_size=crop[0] if crop and is_square else None,
        crop_shape=None if is_square else crop,
        pad_colour=(0, 0, 0) if crop else None,
        pad_rounding="ceil" if crop else "floor",
        pixel_scale=scale,
        mean=mean,
        std=std,
        std_twice=twice,
    )


def _read_values(settings: Settings) -> tuple[float, tuple[float, ...], tuple[float, ...], bool]:
    """What pixels are divided by, mean, std, and whether they are divided by std twice."""
    factor: Any = settings["rescale_factor"]
    scale = 1 / float(factor) if settings["do_rescale"] else 1.0
    mean, std = (_read_three(settings[key]) for key in ("image_mean", "image_std"))
    includes_top = bool(settings.get("include_top"))
    if not settings["do_normalize"] or "do_flip_channel_order" in settings:  # MobileViT's has no such step
        mean = (0.0,) * 3
        std = std if includes_top else (1.0,) * 3
        includes_top = False
    if settings.get("rescale_offset") and settings["do_rescale"]:
        mean = tuple(1 + value for value in mean)
    return scale, mean, std, includes_top


def _read_three(value: Any) -> tuple[float, ...]:
    numbers: list[Any] = [*value] if isinstance(value, (list, tuple)) else [value] * 3
    if len(numbers) not in (1, 3) or not all(isinstance(number, (int, float)) for number in numbers):
        raise _refuse(f"image_mean or image_std is {quote(value)}")
    return tuple(float(number) for number in numbers)
