"""Records of timm's models, against what timm itself does at evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import timm.data.config
from timm.data.transforms_factory import create_transform

from assay.errors import BadModelError
from assay.models.preprocessing import Preprocessing
from assay.models.published.timm_records import (
    list_timm_evaluations,
    list_timm_sizes,
    make_timm_preprocessing,
    make_timm_record,
)
from assay.models.tables.read import read_timm_models


def get_config(name: str) -> Any:
    return timm.get_pretrained_cfg(name)


def resolve(name: str, *, use_test_size: bool) -> dict[str, Any]:
    resolve_data_config: Any = timm.data.config.resolve_data_config
    found: dict[str, Any] = resolve_data_config(
        pretrained_cfg=get_config(name).to_dict(), use_test_size=use_test_size
    )
    return found


def describe_transform(config: dict[str, Any]) -> dict[str, Any]:
    """How timm's own transform resizes, crops and pads, in the words of a record."""
    resize, crop, *_ = create_transform(**config).transforms
    ways = {1.0: "letterbox", 0.0: "cover"}
    way = ways[resize.longest] if hasattr(resize, "longest") else "squash"
    return {
        "resize": "short side" if isinstance(resize.size, int) else way,
        "size": resize.size,
        "filter": resize.interpolation.value,
        "crop": tuple(crop.size),
        "fill": tuple(crop.fill) if hasattr(crop, "fill") else None,
        "mean": config["mean"],
        "std": config["std"],
    }


def describe_record(made: Preprocessing) -> dict[str, Any]:
    return {
        "resize": made.resize,
        "size": made.resize_side or made.resize_size,
        "filter": made.resize_filter,
        "crop": made.crop,
        "fill": made.pad_colour if made.resize == "letterbox" else None,
        "mean": made.mean,
        "std": made.std,
    }


def test_every_configuration_is_preprocessed_as_timm_does_in_training_size_and_in_its_test() -> None:
    names = []
    for row in read_timm_models():
        usual, test = list_timm_evaluations(row)
        for evaluation, use_test_size in ((usual, False), (test, True)):
            config = resolve(row.name, use_test_size=use_test_size)
            assert evaluation[:2] == config["input_size"][1:], row.name
            made = make_timm_preprocessing(row, evaluation)
            assert describe_record(made) == describe_transform(config), row.name
        names.append(row.name)
    assert sorted(names) == sorted(timm.list_pretrained())


def test_each_configuration_has_a_record_or_is_refused_by_its_name() -> None:
    made, refused = [], []
    for row in read_timm_models():
        try:
            record = make_timm_record(row.name)
        except BadModelError as error:
            refused.append(error.message)
            assert error.message.startswith(f"timm/{row.name}: no model record can be made: ")
        else:
            made.append(record)
            assert (record.name, record.output.class_count) == (f"timm/{row.name}", row.num_classes)
    assert (len(made), len(refused)) == (1441, 385)
    published = [record.published_accuracy[0] for record in made if record.published_accuracy]
    assert len(published) == 1263  # of 1,266; the other three are NaFlex networks


def test_without_a_tag_it_is_the_one_that_timm_takes() -> None:
    for name in ("resnet50", "convnext_tiny", "vit_base_patch16_224"):
        assert make_timm_record(name).name == f"timm/{name}.{get_config(name).tag}"


def test_the_published_accuracy_is_of_its_own_size_alone() -> None:
    usual, other = make_timm_record("resnet18.a1_in1k"), make_timm_record("resnet18.a1_in1k@288")
    assert (usual.input.height, usual.preprocessing.resize_side) == (224, 235)
    assert [(one.top1_percent, one.top5_percent) for one in usual.published_accuracy] == [(71.504, 90.086)]
    assert (other.input.height, other.preprocessing.resize_side) == (288, 288)
    assert other.published_accuracy == ()
    assert make_timm_record("resnet18.a1_in1k@224") == usual


def test_a_crop_larger_than_the_resized_picture_is_padded_with_black_as_torchvision_does() -> None:
    made = make_timm_record("volo_d5_512.sail_in1k").preprocessing
    assert (made.resize_side, made.crop_size, made.pad_colour) == (445, 512, (0, 0, 0))


def test_networks_of_other_data_sets_have_their_own_number_of_classes() -> None:
    assert make_timm_record("convnext_tiny.fb_in22k").output.class_count == 21841
    assert make_timm_record("convnext_nano.r384_in12k").output.class_count == 11821


def test_a_file_whose_name_holds_its_hash_can_be_fetched() -> None:
    (file,) = make_timm_record("legacy_seresnext50_32x4d").weights
    assert (file.file_name, file.sha256_prefix) == ("legacy_se_resnext50_32x4d-f3651bad.pth", "f3651bad")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("naflexvit_base_patch16_gap", "sequence of patches"),
        ("vit_small_patch14_dinov2", "without a classifier"),
        ("vit_base_patch16_clip_224.openai", "512 outputs are an embedding"),
        ("resnet18.a1_in1k@300", "names no such size"),
    ],
)
def test_what_no_record_can_say_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(BadModelError, match=reason):
        make_timm_record(name)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_ones() -> None:
    with pytest.raises(BadModelError, match="timm publishes no model") as caught:
        make_timm_record("ResNet18.a1_in1")
    assert caught.value.hint is not None
    assert "did you mean timm/resnet18.a1_in1k" in caught.value.hint
    assert "assay models ResNet18" in caught.value.hint


def test_a_size_that_timm_does_not_name_is_answered_with_those_it_does() -> None:
    row = next(row for row in read_timm_models() if row.name == "resnet18.a1_in1k")
    assert list_timm_sizes(row) == (224, 288)
    with pytest.raises(BadModelError) as caught:
        make_timm_record("resnet18.a1_in1k@256")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("it names @224 and @288")
