"""The published tables, against the libraries that they were made from."""

from __future__ import annotations

import collections

import pytest
import timm
import torch
import torchvision

from assay.models.tables.read import read_class_subsets, read_timm_models
from assay.models.tables.signatures import (
    find_architectures,
    find_architectures_by_shape,
    read_architecture_signatures,
)


def list_shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_an_architecture_is_found_by_the_names_and_shapes_of_its_tensors() -> None:
    with torch.device("meta"):
        shapes = list_shapes(timm.create_model("convnext_tiny"))
    assert [row.architecture for row in find_architectures(shapes)] == ["convnext_tiny"]
    del shapes["head.fc.bias"]
    assert find_architectures(shapes) == ()


def test_architectures_that_no_weights_tell_apart_are_all_found() -> None:
    with torch.device("meta"):
        shapes = list_shapes(torchvision.models.resnet18())
    found = find_architectures(shapes)
    assert {(row.library.split()[0], row.architecture) for row in found} == {
        ("timm", "resnet18"),
        ("timm", "resnetblur18"),
        ("torchvision", "resnet18"),
    }
    renamed = {f"module.{name}": shape for name, shape in shapes.items()}
    assert find_architectures(renamed) == ()
    assert set(find_architectures_by_shape(renamed)) == set(found)


def test_every_row_of_signatures_counts_those_that_share_it() -> None:
    rows = read_architecture_signatures()
    counts = collections.Counter(row.sha1_names_and_shapes for row in rows)
    assert all(counts[row.sha1_names_and_shapes] == row.same_names_and_shapes for row in rows)


def test_each_architecture_of_timm_has_one_default() -> None:
    names = collections.defaultdict(list)
    for row in read_timm_models():
        names[row.name.partition(".")[0]].append(row.default)
    assert {flags.count("yes") for flags in names.values()} == {1}


@pytest.mark.parametrize(
    ("subset", "classes"),
    [
        ("imagenette", 10),
        ("imagewoof", 10),
        ("imagenet-a", 200),
        ("objectnet-113", 113),
        ("tiny-imagenet", 200),
    ],
)
def test_a_relative_of_imagenet_has_its_classes(subset: str, classes: int) -> None:
    rows = [row for row in read_class_subsets() if row.subset == subset]
    assert len({row.list_position for row in rows}) == classes
    assert all(0 <= row.imagenet1k_index < 1000 for row in rows)
