"""Preprocessing read from configurations of transformers, against its image processors themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from assay.errors import BadModelError
from assay.images.prepare import prepare_into
from assay.models.hugging_face.image_processors import PROCESSORS, read_processor
from assay.models.record import ModelRecord

HALF, IMAGENET = [0.5, 0.5, 0.5], [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
CASES: dict[str, dict[str, Any]] = {
    **{
        f"{name}, all defaults": {"image_processor_type": name}
        for name in PROCESSORS
        if name != "SegformerImageProcessor"
    },
    "size as a number, squashed": {"image_processor_type": "ViTImageProcessor", "size": 96},
    "size as a number, short side": {
        "image_processor_type": "BitImageProcessor",
        "size": 96,
        "crop_size": 90,
    },
    "the old name of a class": {
        "feature_extractor_type": "DeiTFeatureExtractor",
        "size": 110,
        "crop_size": 96,
    },
    "a fast class": {"image_processor_type": "ViTImageProcessorFast", "image_mean": IMAGENET},
    "ConvNext under 384": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 224},
        "crop_pct": 0.875,
        "image_mean": IMAGENET,
        "image_std": IMAGENET_STD,
    },
    "ConvNext of ResNet, with an odd crop_pct": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": 224,
        "crop_pct": 0.95,
        "resample": 2,
    },
    "EfficientNet as published": {
        "image_processor_type": "EfficientNetImageProcessor",
        "size": {"height": 224, "width": 224},
        "resample": 0,
        "do_center_crop": False,
        "image_mean": IMAGENET,
        "image_std": [0.47853944, 0.4732864, 0.47434163],
        "include_top": True,
    },
    "EfficientNet, values of -1 to 1": {
        "image_processor_type": "EfficientNetImageProcessor",
        "rescale_factor": 1 / 127.5,
        "rescale_offset": True,
        "do_normalize": False,
        "include_top": False,
    },
    "MobileViT as published": {
        "image_processor_type": "MobileViTImageProcessor",
        "size": {"shortest_edge": 288},
        "crop_size": {"height": 256, "width": 256},
        "resample": 2,
    },
    "a step that null switches off": {
        "image_processor_type": "BitImageProcessor",
        "do_resize": None,
        "crop_size": 64,
    },
    "no normalisation": {"image_processor_type": "ViTImageProcessor", "do_normalize": False},
    "keys that the class ignores": {
        "image_processor_type": "ViTImageProcessor",
        "crop_pct": 0.9,
        "size": 224,
    },
    "not square": {"image_processor_type": "ViTImageProcessor", "size": {"height": 96, "width": 64}},
    "PoolFormer of a square size": {
        "image_processor_type": "PoolFormerImageProcessor",
        "size": {"height": 224, "width": 224},
        "crop_pct": 0.9,
    },
    "PoolFormer without crop_pct": {"image_processor_type": "PoolFormerImageProcessor", "crop_pct": None},
}


def make_processor(config: dict[str, Any]) -> Any:
    import transformers

    name = config.get("image_processor_type") or config["feature_extractor_type"]
    name = name.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    return getattr(transformers, f"{name}Pil")(**config)


@pytest.mark.parametrize("name", CASES)
def test_the_array_is_that_of_the_processor_with_this_configuration(
    name: str, se_resnext50: ModelRecord
) -> None:
    config = CASES[name]
    made = read_processor(config, "")
    shape = made.preprocessing.find_output_shape()
    assert shape is not None
    replace = msgspec.structs.replace
    tensor = replace(se_resnext50.input, height=shape[0], width=shape[1], colour_order=made.colour_order)
    record = replace(se_resnext50, input=tensor, preprocessing=made.preprocessing)
    noise = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    landscape = Image.fromarray(noise).resize((331, 247), Image.Resampling.BICUBIC)
    processor = make_processor(config)
    for picture in (landscape, landscape.transpose(Image.Transpose.TRANSPOSE)):
        found = np.empty((3, *shape), dtype=np.float32)
        prepare_into(np.asarray(picture), record, found)
        expected = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])
        assert expected.shape == found.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)


def test_a_missing_class_is_that_of_the_model_type() -> None:
    assert read_processor({"size": 224}, "swinv2").class_name == "ViTImageProcessor"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"image_processor_type": "DonutImageProcessor"},
            "'DonutImageProcessor' is not one that assay knows",
        ),
        ({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 224}}, "longest_edge"),
        ({"image_processor_type": "ViTImageProcessor", "resample": "cubic"}, "resample is 'cubic'"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": "x"}, "image_mean or image_std is 'x'"),
        ({"image_processor_type": "BitImageProcessor", "crop_size": None}, "crop_size"),
        ({"image_processor_type": "BitImageProcessor", "do_pad": True}, "do_pad"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": {"height": 9, "width": 9}}, "ConvNext"),
    ],
)
def test_what_a_record_cannot_say_is_refused_with_the_way_out(config: dict[str, Any], message: str) -> None:
    with pytest.raises(BadModelError, match=message) as caught:
        read_processor(config, "vit")
    assert "--model record.toml" in caught.value.hint
