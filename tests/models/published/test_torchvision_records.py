"""Records of torchvision's weights, against the transforms and figures that torchvision gives them."""

from __future__ import annotations

import pytest
from torchvision.models import get_weight, list_models

from assay.errors import BadModelError
from assay.models.published.torchvision_records import make_torchvision_record, name_torchvision_record
from assay.models.record import ONNX_ONLY
from assay.models.tables.read import read_torchvision_weights

FEATURES = "vgg16:IMAGENET1K_FEATURES"


def name_all() -> list[str]:
    names = [name_torchvision_record(row) for row in read_torchvision_weights()]
    return [name.removeprefix("torchvision/") for name in names]


def test_all_weights_of_its_classifiers_are_there_and_all_but_one_have_a_record() -> None:
    names = name_all()
    assert len(names) == 129
    assert {name.partition(":")[0] for name in names} <= set(list_models())
    assert [make_torchvision_record(name).name for name in names if name != FEATURES] == [
        f"torchvision/{name}" for name in names if name != FEATURES
    ]


def test_every_record_is_preprocessed_and_published_as_torchvision_says() -> None:
    for row in read_torchvision_weights():
        name = name_torchvision_record(row).removeprefix("torchvision/")
        if name == FEATURES:
            continue
        weights, record = get_weight(row.weights), make_torchvision_record(name)
        wanted, made = weights.transforms(), record.preprocessing
        assert made.resize == "short side", name
        assert [made.resize_side] == wanted.resize_size, name
        assert [made.crop_size] == wanted.crop_size, name
        assert made.resize_filter == wanted.interpolation.value, name
        assert (list(made.mean), list(made.std)) == (list(wanted.mean), list(wanted.std)), name
        (published,) = record.published_accuracy
        metrics = weights.meta["_metrics"]["ImageNet-1K"]
        assert (published.top1_percent, published.top5_percent) == (metrics["acc@1"], metrics["acc@5"]), name
        assert record.output.class_count == len(weights.meta["categories"]), name
        assert [file.url for file in record.weights] == ([] if row.backend else [weights.url]), name


def test_without_weights_they_are_the_default_ones() -> None:
    assert make_torchvision_record("resnet50").name == "torchvision/resnet50:IMAGENET1K_V2"
    assert make_torchvision_record("resnet50:DEFAULT") == make_torchvision_record("resnet50")
    named = make_torchvision_record("resnet50:ResNet50_Weights.IMAGENET1K_V1")
    assert named == make_torchvision_record("resnet50:IMAGENET1K_V1")


def test_a_quantised_network_comes_as_an_onnx_file_alone() -> None:
    record = make_torchvision_record("quantized_resnet50")
    assert (record.architecture, record.weights) == (ONNX_ONLY, ())
    assert record.published_accuracy[0].setting == "PyTorch, fbgemm int8"


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_step_that_the_network_itself_adds_to_its_input_is_noted(name: str) -> None:
    assert make_torchvision_record(name).published_accuracy[0].setting == "PyTorch, transform_input=True"


def test_weights_without_a_classifier_and_unknown_names_are_refused() -> None:
    with pytest.raises(BadModelError, match="no trained classifier"):
        make_torchvision_record(FEATURES)
    with pytest.raises(BadModelError, match="has no weights 'V3'") as caught:
        make_torchvision_record("resnet50:V3")
    assert (
        caught.value.hint == "it has torchvision/resnet50:IMAGENET1K_V1, torchvision/resnet50:IMAGENET1K_V2"
    )
    with pytest.raises(BadModelError, match="did you mean torchvision/resnet50"):
        make_torchvision_record("resnet-50")
