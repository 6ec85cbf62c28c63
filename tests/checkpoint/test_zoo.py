"""Checkpoints of networks that timm, torchvision and transformers build."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.checkpoint.load import load_checkpoint
from assay.errors import BadCheckpointError, BadModelError, MissingRuntimeError
from assay.models.record import ModelRecord

CLASS_COUNT = 7
TINY_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
}
TINY_SWIN = {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}

NARROW_SWIN = {"embed_dim": 24, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]}


def describe(
    record: ModelRecord, architecture: str, side: int, options: dict[str, Any] | None = None
) -> ModelRecord:
    """A record of a network of 7 classes for pictures of that side."""
    replace = msgspec.structs.replace
    return replace(
        record,
        architecture=architecture,
        architecture_options=options or {},
        input=replace(record.input, height=side, width=side),
        preprocessing=replace(record.preprocessing, resize_side=side, crop_size=side),
        output=replace(record.output, class_count=CLASS_COUNT),
    )


def seed(network: nn.Module) -> nn.Module:
    """The network in eval mode, every tensor of it drawn so that any other gives other logits."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator) - 0.5
                if tensor.dim() > 1:
                    tensor.copy_(drawn * 2 * (6 / tensor[0].numel()) ** 0.5)
                else:  # scales and variances, or offsets
                    tensor.copy_(1 + drawn / 2 if name.endswith(("weight", "var")) else drawn / 10)
    return network.eval()


def make_tiny_vit() -> Any:
    import transformers

    return transformers.ViTForImageClassification(transformers.ViTConfig(**TINY_VIT, num_labels=CLASS_COUNT))


def save(network: nn.Module, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def run(network: nn.Module, side: int) -> Tensor:
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        output = network(images)
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        ("test_resnet", 160, {}),
        ("test_vit", 160, {}),
        ("test_convnext", 160, {}),
        ("test_efficientnet", 160, {}),
        ("swin_tiny_patch4_window7_224", 224, NARROW_SWIN),  # computes its indices and masks
        ("eva02_tiny_patch14_224", 224, {"depth": 2}),  # computes its rotary positions
        ("tf_efficientnet_lite0", 64, {}),
    ],
)
def test_a_network_of_timm_gives_the_logits_that_timm_gives(
    record: ModelRecord, tmp_path: Path, name: str, side: int, options: dict[str, Any]
) -> None:
    import timm

    network = seed(timm.create_model(name, num_classes=CLASS_COUNT, **options))
    described = describe(record, f"timm/{name}", side, options)
    checkpoint = load_checkpoint(save(network, tmp_path / "w.safetensors"), described)
    wanted = run(network, side)
    assert torch.equal(run(checkpoint.network, side), wanted)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-4  # the images are told apart
    assert not checkpoint.network.training


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", pytest.param("swin_t", marks=pytest.mark.slow)])
def test_a_network_of_torchvision_gives_the_logits_that_torchvision_gives(
    record: ModelRecord, tmp_path: Path, name: str
) -> None:
    import torchvision

    network = seed(torchvision.models.get_model(name, num_classes=CLASS_COUNT))
    path = tmp_path / "w.pth"
    torch.save({"model": network.state_dict()}, path)
    checkpoint = load_checkpoint(path, describe(record, f"torchvision/{name}", 224))
    assert torch.equal(run(checkpoint.network, 224), run(network, 224))


@pytest.mark.parametrize(
    ("class_name", "options"),
    [("ViTForImageClassification", TINY_VIT), ("SwinForImageClassification", TINY_SWIN)],
)
@pytest.mark.parametrize("saved_by", ["transformers", "torch"])
def test_a_network_of_transformers_gives_the_logits_that_transformers_gives(
    record: ModelRecord, tmp_path: Path, class_name: str, options: dict[str, Any], saved_by: str
) -> None:
    import transformers

    network_class = getattr(transformers, class_name)
    network: Any = seed(network_class(network_class.config_class(**options, num_labels=CLASS_COUNT)))
    if saved_by == "transformers":  # by the names of its older releases
        network.save_pretrained(tmp_path)
    else:
        save(network, tmp_path / "model.safetensors")
    described = describe(record, f"transformers/{class_name}", 64, options)
    checkpoint = load_checkpoint(tmp_path / "model.safetensors", described)
    assert torch.equal(run(checkpoint.network, 64), run(network, 64))


def test_a_model_type_of_transformers_names_its_classifier(record: ModelRecord, tmp_path: Path) -> None:

    network = make_tiny_vit()
    path = save(network, tmp_path / "w.safetensors")
    checkpoint = load_checkpoint(path, describe(record, "transformers/vit", 64, TINY_VIT))
    assert torch.equal(run(checkpoint.network, 64), run(network.eval(), 64))


@pytest.mark.parametrize("library", ["timm", "transformers"])
@pytest.mark.parametrize("fault", ["missing", "unexpected", "wrong shape"])
def test_weights_that_do_not_fit_are_refused_by_name(
    record: ModelRecord, tmp_path: Path, library: str, fault: str
) -> None:
    import timm

    described, head = {
        "timm": (describe(record, "timm/test_resnet", 160), "fc.weight"),
        "transformers": (describe(record, "transformers/vit", 64, TINY_VIT), "classifier.weight"),
    }[library]
    network = (
        timm.create_model("test_resnet", num_classes=CLASS_COUNT) if library == "timm" else make_tiny_vit()
    )
    tensors = dict(network.state_dict())
    if fault == "missing":
        del tensors[head]
    elif fault == "unexpected":
        tensors["stranger.weight"] = torch.zeros(3)
    else:
        tensors[head] = torch.zeros(CLASS_COUNT + 1, tensors[head].shape[1])
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpointError) as caught:
        load_checkpoint(tmp_path / "w.safetensors", described)
    assert fault in caught.value.message
    assert ("stranger.weight" if fault == "unexpected" else head) in caught.value.message


def test_a_constant_that_is_not_the_networks_own_is_refused(record: ModelRecord, tmp_path: Path) -> None:
    import torchvision

    tensors = dict(torchvision.models.swin_t(num_classes=CLASS_COUNT).state_dict())
    name = "features.1.0.attn.relative_position_index"
    tensors[name] = tensors[name].flip(0).contiguous()
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpointError, match=name):
        load_checkpoint(tmp_path / "w.safetensors", describe(record, "torchvision/swin_t", 224))


@pytest.mark.parametrize("has_auxiliary", [True, False])
def test_googlenet_changes_its_input_as_the_record_says(
    record: ModelRecord, tmp_path: Path, *, has_auxiliary: bool
) -> None:
    import torchvision

    options = {"num_classes": CLASS_COUNT, "init_weights": False, "aux_logits": has_auxiliary}
    network = seed(torchvision.models.googlenet(**options, transform_input=True))
    path = save(network, tmp_path / "w.safetensors")
    given = describe(record, "torchvision/googlenet", 224, {"transform_input": True})
    assert torch.equal(run(load_checkpoint(path, given).network, 224), run(network, 224))
    with pytest.raises(BadModelError, match="transform_input is missing"):
        load_checkpoint(path, describe(record, "torchvision/googlenet", 224))


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("timm/resnet19", {}, "timm has no classifier that is called 'resnet19'"),
        ("timm/hf-hub:timm/resnet18.a1_in1k", {}, "no classifier"),
        ("torchvision/fasterrcnn_resnet50_fpn", {}, "torchvision has no classifier"),
        ("transformers/BertForSequenceClassification", {}, "transformers has no classifier"),
        ("timm/test_resnet", {"pretrained": True}, "architecture_options.pretrained is not allowed"),
        ("timm/test_resnet", {"checkpoint_path": "x"}, "architecture_options.checkpoint_path"),
        ("transformers/vit", {"auto_map": {"AutoModel": "x.Y"}}, "architecture_options.auto_map"),
        ("transformers/vit", {"_attn_implementation": "someone/kernel"}, "options._attn_implementation"),
        ("timm/test_resnet", {"no_such": 1}, "does not build 'test_resnet'.*no_such"),
        ("keras/resnet50", {}, "no network is called 'keras/resnet50'"),
    ],
)
def test_a_record_that_no_library_can_build_is_refused(
    record: ModelRecord, tmp_path: Path, architecture: str, options: dict[str, Any], message: str
) -> None:
    save_file({"fc.weight": torch.zeros(7, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(BadModelError, match=message):
        load_checkpoint(tmp_path / "w.safetensors", describe(record, architecture, 160, options))


def test_a_network_for_another_size_of_pictures_is_refused(record: ModelRecord, tmp_path: Path) -> None:

    network = make_tiny_vit()
    path = save(network, tmp_path / "w.safetensors")
    with pytest.raises(BadModelError, match=r"does not take images of \(3, 96, 96\)"):
        load_checkpoint(path, describe(record, "transformers/vit", 96, TINY_VIT))


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    record: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    save_file({"fc.weight": torch.zeros(7, 3)}, tmp_path / "w.safetensors")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingRuntimeError, match=library) as caught:
        load_checkpoint(tmp_path / "w.safetensors", describe(record, f"{library}/resnet18", 224))
    assert "assay[zoo]" in caught.value.hint


def test_a_library_that_does_not_fit_torch_is_named_with_the_reason(
    record: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    save_file({"fc.weight": torch.zeros(7, 3)}, tmp_path / "w.safetensors")
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingRuntimeError, match="torchvision::nms does not exist"):
        load_checkpoint(tmp_path / "w.safetensors", describe(record, "torchvision/resnet18", 224))


def test_a_network_of_transformers_that_cannot_be_imported_is_named_with_the_reason(
    record: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers.models.cvt.modeling_cvt", None)
    save_file({"fc.weight": torch.zeros(7, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(MissingRuntimeError, match="CvtForImageClassification"):
        load_checkpoint(tmp_path / "w.safetensors", describe(record, "transformers/cvt", 224))


def test_names_of_an_older_timm_are_read_as_timm_reads_them(record: ModelRecord, tmp_path: Path) -> None:
    import timm

    name = "swin_tiny_patch4_window7_224"
    network = seed(timm.create_model(name, num_classes=CLASS_COUNT, **NARROW_SWIN))
    tensors = {  # timm 0.6: the classifier had no `fc`, and a stage ended in its downsampling
        name.replace("head.fc.", "head."): tensor
        for name, tensor in network.state_dict().items()
        if "downsample" not in name
    }
    for stage in (0, 1, 2):
        for end in ("norm.weight", "norm.bias", "reduction.weight"):
            old = f"layers.{stage}.downsample.{end}"
            tensors[old] = network.state_dict()[f"layers.{stage + 1}.downsample.{end}"]
    save_file(tensors, tmp_path / "w.safetensors")
    described = describe(record, f"timm/{name}", 224, NARROW_SWIN)
    checkpoint = load_checkpoint(tmp_path / "w.safetensors", described)
    assert torch.equal(run(checkpoint.network, 224), run(network, 224))


def test_positions_for_another_size_of_pictures_are_not_resampled(
    record: ModelRecord, tmp_path: Path
) -> None:
    import timm

    network = timm.create_model("test_vit", num_classes=CLASS_COUNT, img_size=96)
    path = save(network, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpointError, match=r"wrong shape: pos_embed"):
        load_checkpoint(path, describe(record, "timm/test_vit", 160))
    checkpoint = load_checkpoint(path, describe(record, "timm/test_vit", 96))
    assert torch.equal(run(checkpoint.network, 96), run(network.eval(), 96))
