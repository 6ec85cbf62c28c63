"""assay's array against the evaluation transforms of timm, torchvision and transformers, on photographs.

The libraries are imported where a test needs them: that takes seconds.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from assay.arrays import Pixels
from assay.errors import BadModelError
from assay.images.decode import decode_image
from assay.images.prepare import prepare_into
from assay.models.preprocessing import Preprocessing
from assay.models.published.timm_records import make_timm_record
from assay.models.published.torchvision_records import make_torchvision_record
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.models.tables.read import read_timm_models

Transform = Callable[[Image.Image], Any]
Settings = Callable[..., dict[str, Any]]
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
OPENAI = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
NONE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
NEAREST, BLACK = 0, (0, 0, 0)
cut: Settings = partial(
    dict, resize="short side", crop_rounding="modelzoo", pad_colour=BLACK, pad_rounding="ceil"
)
even: Settings = partial(dict, resize="short side", crop_rounding="torchvision", pad_colour=BLACK)
kept: Settings = partial(dict, resize="none", crop_rounding="modelzoo", pad_colour=BLACK, arithmetic="fused")
squash: Settings = partial(dict, resize="squash", crop_rounding="torchvision")


def timm_transform(height: int, width: int, crop_pct: float, crop_mode: str, **more: Any) -> Transform:
    data: Any = importlib.import_module("timm.data")
    made: Transform = data.create_transform(
        (3, height, width), crop_pct=crop_pct, crop_mode=crop_mode, **more
    )
    return made


def timm_model(name: str) -> Transform:
    """As timm evaluates that model."""
    timm: Any = importlib.import_module("timm")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    made: Transform = timm.data.create_transform(**config)
    return made


def timm_in_one_channel() -> Transform:
    """As timm's data sets give pictures to a network of one channel."""
    transform = timm_transform(96, 96, 0.9, "border", mean=(0.48,), std=(0.25,))
    return lambda picture: transform(picture.convert("L"))


def torchvision_weights(name: str) -> Transform:
    models: Any = importlib.import_module("torchvision.models")
    made: Transform = models.get_weight(name).transforms()
    return made


def torchvision_preset(**sizes: int) -> Transform:
    presets: Any = importlib.import_module("torchvision.transforms._presets")
    made: Transform = presets.ImageClassification(**sizes)
    return made


def torchvision_version_2() -> Transform:
    """Transforms of torchvision's second version, which scale by a multiplication."""
    v2: Any = importlib.import_module("torchvision.transforms.v2")
    steps = [v2.Resize(232), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    made: Transform = v2.Compose([*steps, v2.Normalize(*IMAGENET.values())])
    return made


def transformers_processor(kind: str, **more: Any) -> Transform:
    """The processor of that folder: Pillow's, or, of "folder:Class", that of the torchvision backend."""
    folder, _, name = kind.partition(":")
    module = f"transformers.models.{folder}.image_processing_{'' if name else 'pil_'}{folder}"
    classes: dict[str, Any] = vars(importlib.import_module(module))
    processor = classes[name or next(key for key in classes if key.endswith("ProcessorPil"))](**more)
    return lambda picture: processor(picture, return_tensors="np")["pixel_values"][0]


FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
CASES: dict[str, tuple[Callable[[], Transform], dict[str, Any]]] = {
    **{
        f"timm, centre, {name}": (
            partial(timm_transform, 224, 224, 0.875, "center", interpolation=name),
            even(resize_side=256, resize_filter=name, crop_size=224, **IMAGENET),
        )
        for name in FILTERS
    },
    "timm resnet50.a1_in1k": (
        partial(timm_model, "resnet50.a1_in1k"),
        even(resize_side=235, resize_filter="bicubic", crop_size=224, **IMAGENET),
    ),
    "timm vit_base_patch16_224.augreg_in1k": (
        partial(timm_model, "vit_base_patch16_224.augreg_in1k"),
        even(resize_side=248, resize_filter="bicubic", crop_size=224, **HALF),
    ),
    "timm tf_efficientnet_b3.in1k": (
        partial(timm_model, "tf_efficientnet_b3.in1k"),
        even(resize_side=331, resize_filter="bicubic", crop_size=300, **IMAGENET),
    ),
    "timm inception_v3.tv_in1k": (
        partial(timm_model, "inception_v3.tv_in1k"),
        even(resize_side=341, resize_filter="bicubic", crop_size=299, **HALF),
    ),
    "timm mobilevit_s.cvnets_in1k": (
        partial(timm_model, "mobilevit_s.cvnets_in1k"),
        even(resize_side=284, resize_filter="bicubic", crop_size=256, **NONE),
    ),
    "timm convnext_tiny.fb_in22k_ft_in1k_384": (
        partial(timm_model, "convnext_tiny.fb_in22k_ft_in1k_384"),
        squash(resize_size=(384, 384), resize_filter="bicubic", **IMAGENET),
    ),
    "timm vit_base_patch16_clip_384.openai_ft_in12k_in1k": (
        partial(timm_model, "vit_base_patch16_clip_384.openai_ft_in12k_in1k"),
        squash(resize_size=(404, 404), resize_filter="bicubic", crop_size=384, **OPENAI),
    ),
    "timm, centre, wide": (
        partial(timm_transform, 192, 256, 0.9, "center", interpolation="bicubic"),
        even(
            resize="cover", resize_size=(213, 284), resize_filter="bicubic", crop_shape=(192, 256), **IMAGENET
        ),
    ),
    "timm, centre, tall": (
        partial(timm_transform, 256, 192, 0.875, "center", interpolation="lanczos"),
        even(
            resize="cover", resize_size=(292, 219), resize_filter="lanczos", crop_shape=(256, 192), **IMAGENET
        ),
    ),
    "timm, squash, wide": (
        partial(timm_transform, 160, 224, 0.875, "squash", interpolation="bilinear"),
        squash(resize_size=(182, 256), resize_filter="bilinear", crop_shape=(160, 224), **IMAGENET),
    ),
    "timm, squash, box": (
        partial(timm_transform, 224, 224, 1.0, "squash", interpolation="box"),
        squash(resize_size=(224, 224), resize_filter="box", crop_size=224, **IMAGENET),
    ),
    "timm, border": (
        partial(timm_transform, 224, 224, 1.0, "border", interpolation="bicubic", **OPENAI),
        even(resize="letterbox", resize_size=(224, 224), resize_filter="bicubic", crop_size=224, **OPENAI)
        | {"pad_colour": (123, 117, 104)},
    ),
    "timm, border, cropped": (
        partial(timm_transform, 224, 224, 0.8, "border", interpolation="hamming"),
        even(resize="letterbox", resize_size=(280, 280), resize_filter="hamming", crop_size=224, **IMAGENET)
        | {"pad_colour": (124, 116, 104)},
    ),
    "timm, border, tall": (
        partial(timm_transform, 288, 160, 0.95, "border", interpolation="bilinear", **HALF),
        even(
            resize="letterbox",
            resize_size=(303, 168),
            resize_filter="bilinear",
            crop_shape=(288, 160),
            **HALF,
        )
        | {"pad_colour": (128, 128, 128)},
    ),
    "timm, border, one channel": (
        timm_in_one_channel,
        even(
            resize="letterbox",
            resize_size=(106, 106),
            resize_filter="bilinear",
            crop_size=96,
            mean=(0.48,),
            std=(0.25,),
        )
        | {"pad_colour": (122, 122, 122)},
    ),
    **{
        f"torchvision {name}": (
            partial(torchvision_weights, name),
            even(resize_side=side, resize_filter=resize_filter, crop_size=crop, **constants),
        )
        for name, side, resize_filter, crop, constants in (
            ("ResNet50_Weights.IMAGENET1K_V1", 256, "bilinear", 224, IMAGENET),
            ("ResNet50_Weights.IMAGENET1K_V2", 232, "bilinear", 224, IMAGENET),
            ("Inception_V3_Weights.IMAGENET1K_V1", 342, "bilinear", 299, IMAGENET),
            ("EfficientNet_B1_Weights.IMAGENET1K_V2", 255, "bilinear", 240, IMAGENET),
            ("EfficientNet_V2_L_Weights.IMAGENET1K_V1", 480, "bicubic", 480, HALF),
            ("Swin_V2_T_Weights.IMAGENET1K_V1", 260, "bicubic", 256, IMAGENET),
            ("ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", 384, "bicubic", 384, IMAGENET),
        )
    },
    "torchvision, padded": (
        partial(torchvision_preset, crop_size=225, resize_size=160),
        even(resize_side=160, resize_filter="bilinear", crop_size=225, **IMAGENET),
    ),
    "torchvision, version 2": (
        torchvision_version_2,
        even(resize_side=232, resize_filter="bilinear", crop_size=224, arithmetic="multiply", **IMAGENET),
    ),
    "transformers ViT": (
        partial(transformers_processor, "vit"),
        squash(resize_size=(224, 224), resize_filter="bilinear", **HALF),
    ),
    "transformers DeiT": (
        partial(transformers_processor, "deit"),
        squash(resize_size=(256, 256), resize_filter="bicubic", crop_size=224, **HALF),
    ),
    "transformers BEiT": (
        partial(transformers_processor, "beit"),
        squash(resize_size=(224, 224), resize_filter="bicubic", **HALF),
    ),
    "transformers ConvNext below 384": (
        partial(transformers_processor, "convnext", size={"shortest_edge": 224}, crop_pct=0.95),
        cut(resize_side=235, resize_filter="bicubic", crop_size=224, **HALF),
    ),
    "transformers ConvNext from 384 on": (
        partial(transformers_processor, "convnext", image_mean=IMAGENET["mean"], image_std=IMAGENET["std"]),
        squash(resize_size=(384, 384), resize_filter="bicubic", **IMAGENET),
    ),
    "transformers BiT": (
        partial(transformers_processor, "bit"),
        cut(resize_side=224, resize_filter="bicubic", crop_size=224, **OPENAI),
    ),
    "transformers CLIP, lanczos": (
        partial(transformers_processor, "clip", resample=1, size={"shortest_edge": 233}),
        cut(resize_side=233, resize_filter="lanczos", crop_size=224, **OPENAI),
    ),
    "transformers SigLIP": (
        partial(transformers_processor, "siglip"),
        squash(resize_size=(224, 224), resize_filter="bicubic", **HALF),
    ),
    "transformers LeViT": (
        partial(transformers_processor, "levit"),
        cut(resize_side=256, resize_filter="bicubic", crop_size=224, **IMAGENET),
    ),
    "transformers PoolFormer": (
        partial(transformers_processor, "poolformer"),
        cut(resize_side=248, resize_filter="bicubic", crop_size=224, **IMAGENET),
    ),
    "transformers PVT, wide": (
        partial(transformers_processor, "pvt", size={"height": 192, "width": 256}),
        squash(resize_size=(192, 256), resize_filter="bicubic", **IMAGENET),
    ),
    "transformers MobileNetV2": (
        partial(transformers_processor, "mobilenet_v2"),
        cut(resize_side=256, resize_filter="bilinear", crop_size=224, **HALF),
    ),
    "transformers MobileViT, BGR, padded": (
        partial(transformers_processor, "mobilevit"),
        cut(resize_side=224, resize_filter="bicubic", crop_size=256, **NONE),
    ),
    "transformers MobileViT, BGR": (
        partial(transformers_processor, "mobilevit", size={"shortest_edge": 288}, resample=2),
        cut(resize_side=288, resize_filter="bilinear", crop_size=256, **NONE),
    ),
    "transformers EfficientNet, std twice": (
        partial(
            transformers_processor,
            "efficientnet",
            size={"height": 456, "width": 456},
            resample=NEAREST,
            image_mean=(0.485, 0.456, 0.406),
            image_std=(0.4785, 0.4733, 0.4743),
        ),
        squash(
            resize_size=(456, 456),
            resize_filter="nearest",
            std_twice=True,
            mean=(0.485, 0.456, 0.406),
            std=(0.4785, 0.4733, 0.4743),
        ),
    ),
    "transformers, torchvision backend, not resized": (
        partial(transformers_processor, "clip:CLIPImageProcessor", do_resize=False),
        kept(crop_size=224, **OPENAI),
    ),
    "transformers, torchvision backend, std twice": (
        partial(
            transformers_processor,
            "efficientnet:EfficientNetImageProcessor",
            do_resize=False,
            do_center_crop=True,
            image_std=(0.4785, 0.4733, 0.4743),
        ),
        kept(crop_size=289, std_twice=True, mean=HALF["mean"], std=(0.4785, 0.4733, 0.4743)),
    ),
}


def make_record(name: str, settings: dict[str, Any], record: ModelRecord) -> ModelRecord:
    preprocessing = msgspec.convert(settings, Preprocessing)
    height, width = preprocessing.find_output_shape() or (0, 0)
    channels = len(preprocessing.mean)
    tensor = msgspec.structs.replace(
        record.input, height=height, width=width, channels=channels,
        colour_order="grey" if channels == 1 else "BGR" if "BGR" in name else "RGB",
    )  # fmt: skip
    return msgspec.structs.replace(record, input=tensor, preprocessing=preprocessing)


@pytest.fixture(scope="module")
def photographs(golden: Path) -> list[Pixels]:
    """20 of 100, the narrowest ones, the widest, and some between them."""
    pictures = [decode_image(path.read_bytes()).pixels for path in sorted((golden / "images").iterdir())]
    pictures.sort(key=lambda pixels: pixels.shape[1] / pixels.shape[0])
    return pictures[:10] + pictures[19::10] + pictures[-1:]


def check_same(name: str, photographs: list[Pixels], record: ModelRecord) -> None:
    make_transform, settings = CASES[name]
    transform = make_transform()
    record = make_record(name, settings, record)
    tensor = record.input
    for pixels in photographs:
        expected = np.asarray(transform(Image.fromarray(pixels)))
        found = np.empty((tensor.channels, tensor.height, tensor.width), dtype=np.float32)
        prepare_into(pixels, record, found)
        assert (expected.dtype, expected.shape) == (found.dtype, found.shape)
        assert expected.tobytes() == found.tobytes(), pixels.shape


@pytest.mark.parametrize("name", CASES)
def test_the_array_is_the_librarys_bit_for_bit(
    name: str, photographs: list[Pixels], se_resnext50: ModelRecord
) -> None:
    check_same(name, photographs[::19], se_resnext50)  # a portrait and a landscape


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_twenty_arrays_are_the_librarys_bit_for_bit(
    name: str, photographs: list[Pixels], se_resnext50: ModelRecord
) -> None:
    assert len(CASES) >= 40
    assert len(photographs) == 20
    check_same(name, photographs, se_resnext50)


@pytest.fixture(scope="module")
def drawn() -> list[Pixels]:
    """A landscape and a portrait."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize((331, 247), Image.Resampling.BICUBIC)
    return [np.asarray(smooth), np.asarray(smooth.transpose(Image.Transpose.TRANSPOSE))]


def makes_the_same(transform: Transform, record: ModelRecord, pictures: list[Pixels]) -> bool:
    found = np.empty((3, record.input.height, record.input.width), dtype=np.float32)
    for pixels in pictures:
        expected = np.asarray(transform(Image.fromarray(pixels)))
        if expected.shape != found.shape:
            return False
        prepare_into(pixels, record, found)
        if expected.tobytes() != found.tobytes():
            return False
    return True


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "model-record.md"


@pytest.mark.parametrize(
    ("name", "make_transform"),
    [
        ("resnet50_v2", CASES["torchvision ResNet50_Weights.IMAGENET1K_V2"][0]),
        (
            "vit_base_patch16_clip_384",
            CASES["timm vit_base_patch16_clip_384.openai_ft_in12k_in1k"][0],
        ),
        ("mobilevit_small", CASES["transformers MobileViT, BGR"][0]),
    ],
)
def test_the_records_on_the_page_make_the_librarys_array(
    name: str, make_transform: Callable[[], Transform], drawn: list[Pixels], tmp_path: Path
) -> None:
    shown = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (text,) = (text for text in shown if f'name = "{name}"' in text)
    (tmp_path / "shown.toml").write_text(text)
    assert makes_the_same(make_transform(), read_model_record(str(tmp_path / "shown.toml")), drawn)


@pytest.mark.slow
def test_every_record_of_timm_makes_timms_array(drawn: list[Pixels]) -> None:
    timm: Any = importlib.import_module("timm")
    compared: dict[tuple[Preprocessing, str], bool] = {}
    for row in read_timm_models():
        try:
            record = make_timm_record(row.name)
        except BadModelError:  # without classes, or without a size of its own
            continue
        settings = timm.get_pretrained_cfg(row.name).to_dict()
        same = []
        for use_test_size in (True, False):  # the published figures are of either
            config = timm.data.resolve_data_config(pretrained_cfg=settings, use_test_size=use_test_size)
            key = (record.preprocessing, str(config))
            if key not in compared:
                compared[key] = makes_the_same(timm.data.create_transform(**config), record, drawn)
            same.append(compared[key])
        assert any(same), row.name
    assert len(compared) > 100


@pytest.mark.slow
def test_every_record_of_torchvision_makes_torchvisions_array(drawn: list[Pixels]) -> None:
    models: Any = importlib.import_module("torchvision.models")
    compared = 0
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            if weights.name == "IMAGENET1K_FEATURES":  # without a classifier
                continue
            record = make_torchvision_record(f"{name}:{weights.name}")
            assert makes_the_same(weights.transforms(), record, drawn), weights
            compared += 1
    assert compared > 100
