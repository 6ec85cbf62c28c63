"""Records of the folders of Ascend's ModelZoo, as their scripts preprocess and as they publish."""

from __future__ import annotations

import re

import pytest

from assay.errors import BadModelError
from assay.models.published.ascend_records import make_ascend_record, name_ascend_record
from assay.models.record import ModelRecord
from assay.models.tables.read import AscendModel, read_ascend_models

NAMES = [name_ascend_record(row).removeprefix("ascend/") for row in read_ascend_models()]


def test_each_folder_has_a_record_or_is_refused_by_its_name() -> None:
    made, refused = [], []
    for name in NAMES:
        try:
            made.append(make_ascend_record(name).name)
        except BadModelError as error:
            refused.append(name)
            assert error.message.startswith(f"ascend/{name}: no model record can be made: ")
    assert (len(made), len(refused), len({*made, *refused})) == (81, 16, 97)


def test_the_folder_of_assays_own_model_says_what_its_record_says(se_resnext50: ModelRecord) -> None:
    record = make_ascend_record("SE-ResNeXt50_32x4d")
    assert record.preprocessing == se_resnext50.preprocessing
    assert (record.input, record.output) == (se_resnext50.input, se_resnext50.output)
    theirs = {one.device: (one.clock, one.images_per_second) for one in record.published_throughput}
    assert theirs == {
        one.device: (one.clock, one.images_per_second) for one in se_resnext50.published_throughput
    }
    own = [one for one in se_resnext50.published_accuracy if one.source.startswith("Ascend")]
    assert list(record.published_accuracy) == own


@pytest.mark.parametrize("row", read_ascend_models(), ids=lambda row: row.folder.replace("/", "-"))
def test_every_figure_stands_in_what_the_readme_says(row: AscendModel) -> None:
    try:
        record = make_ascend_record(name_ascend_record(row).removeprefix("ascend/"))
    except BadModelError:
        return
    said = set(map(float, re.findall(r"\d+\.?\d*", row.published_accuracy)))
    for one in record.published_accuracy:
        assert {one.top1_percent, one.top5_percent} <= {*said, None}
    said_rates = set(re.findall(r"(\d+)=([\d.]+)", row.published_images_per_s))
    pairs = {(int(size), float(rate)) for size, rate in said_rates}
    for column in record.published_throughput:
        assert set(column.images_per_second.items()) <= pairs


def test_squashed_pictures_and_each_rounding_of_the_crop_are_told_apart() -> None:
    squashed, short = make_ascend_record("VGG16").preprocessing, make_ascend_record("SENet").preprocessing
    assert (squashed.resize, squashed.resize_size, squashed.crop_rounding) == (
        "squash",
        (256, 256),
        "modelzoo",
    )
    assert (short.resize, short.resize_side, short.crop_rounding) == ("short side", 256, "torchvision")
    assert make_ascend_record("Resnetvd").preprocessing.sampling == "opencv"


def test_a_crop_that_aipp_makes_on_the_chip_is_the_records_crop() -> None:
    made = make_ascend_record("ResNet152")
    assert (made.preprocessing.resize_side, made.preprocessing.crop_size) == (256, 224)
    assert (made.input.dtype, made.input.layout, made.preprocessing.pixel_scale) == ("float32", "NCHW", 255)


def test_channels_turned_after_normalising_have_the_constants_turned() -> None:
    made = make_ascend_record("EfficientNet-B3")
    assert made.input.colour_order == "BGR"
    assert made.preprocessing.mean == (0.406, 0.456, 0.485)


def test_networks_of_cifar_have_its_classes_and_no_accuracy_on_imagenet() -> None:
    ten, hundred = make_ascend_record("GENet"), make_ascend_record("resnet50_mmlab_for_pytorch")
    assert (ten.output.class_count, hundred.output.class_count) == (10, 100)
    assert (ten.input.height, hundred.preprocessing.pixel_scale) == (32, 1)
    assert ten.published_accuracy == hundred.published_accuracy == ()


@pytest.mark.parametrize(
    ("name", "device", "doubt"),
    [
        ("baseline_dino_resnet50", "Ascend 310P", "multiplied by it twice"),
        ("MAE", "Ascend 310P3", "batches per second"),
        ("Moco-v2", "Ascend 310P3", "batches per second"),
        ("LV-Vit", "Ascend 310P3", "batches per second"),
    ],
)
def test_rates_that_cannot_be_right_are_doubted(name: str, device: str, doubt: str) -> None:
    doubts = {one.device: one.doubt for one in make_ascend_record(name).published_throughput}
    assert doubt in doubts[device]
    assert not any(found for other, found in doubts.items() if other != device)


@pytest.mark.parametrize("name", ["volo", "pnasnet5large"])
def test_accuracies_that_change_with_the_batch_are_doubted(name: str) -> None:
    published = make_ascend_record(name).published_accuracy
    assert len({one.top1_percent for one in published}) == len(published) > 2
    assert all(one.doubt.startswith("differs by batch size") for one in published)


def test_two_folders_of_one_name_are_told_apart_by_their_place() -> None:
    names = [name for name in NAMES if name.endswith("Wide_ResNet50_2_for_Pytorch")]
    assert names == ["contrib/Wide_ResNet50_2_for_Pytorch", "built-in/Wide_ResNet50_2_for_Pytorch"]
    assert make_ascend_record("built-in/cv/Wide_ResNet50_2_for_Pytorch").name == f"ascend/{names[1]}"
    with pytest.raises(BadModelError, match="did you mean ascend/contrib/Wide_ResNet50_2_for_Pytorch"):
        make_ascend_record("Wide_ResNet50_2_for_Pytorch")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RARE_MobileNetV3", "dataset of .* is text"),
        ("Resnet50_mlperf", "ArgMax is inside"),
        ("TNT", "inner_tokens"),
        ("Shufflenetv2_for_Pytorch", "244"),
        ("FixRes", "repo code"),
        ("EfficientNet_for_Pytorch", "truncated to int8"),
    ],
)
def test_what_no_record_can_say_is_refused_with_what_was_found(name: str, reason: str) -> None:
    with pytest.raises(BadModelError, match=reason):
        make_ascend_record(name)
