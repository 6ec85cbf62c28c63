from __future__ import annotations

import argparse
import hashlib
import io
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.checkpoint.load import load_checkpoint
from assay.errors import BadCheckpointError, BadModelError, MissingRuntimeError
from assay.models.record import ModelRecord

pytestmark = pytest.mark.usefixtures("narrow_network")
Weights = dict[str, Tensor]
Save = Callable[..., Path]


class RunsCode:
    """Makes a folder when it is unpickled by anything that runs what a pickle asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def refusal(path: Path, record: ModelRecord) -> BadCheckpointError:
    with pytest.raises(BadCheckpointError) as caught:
        load_checkpoint(path, record)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def without_counters(weights: Weights) -> Weights:
    return {key: tensor for key, tensor in weights.items() if not key.endswith("num_batches_tracked")}


def assert_holds(network: nn.Module, weights: Weights) -> None:
    found = network.state_dict()
    for key, tensor in weights.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0, check_dtype=False)


# What is accepted.


@pytest.mark.parametrize(("legacy", "file_format"), [(False, "torch zip"), (True, "torch legacy")])
def test_state_dict_of_torch_save_is_loaded(
    legacy: bool, file_format: str, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    checkpoint = load_checkpoint(save(thin_weights, legacy=legacy), record)
    assert_holds(checkpoint.network, thin_weights)
    assert checkpoint.file_format == file_format


def test_safetensors_file_is_recognised_under_any_name(
    thin_weights: Weights, tmp_path: Path, record: ModelRecord
) -> None:
    path = tmp_path / "weights.pth"
    save_file({key: tensor.half().contiguous() for key, tensor in thin_weights.items()}, path)
    checkpoint = load_checkpoint(path, record)
    assert checkpoint.file_format == "safetensors"
    assert checkpoint.network.state_dict()["last_linear.bias"][0] == thin_weights["last_linear.bias"][0]


@pytest.mark.parametrize("legacy", [False, True])
def test_batch_counters_may_be_missing(
    legacy: bool, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    weights = OrderedDict(without_counters(thin_weights))  # 331 entries, as the file of 2018
    checkpoint = load_checkpoint(save(weights, legacy=legacy), record)
    assert_holds(checkpoint.network, weights)
    assert checkpoint.network.state_dict()["layer0.bn1.num_batches_tracked"] == 0


def test_network_is_ready_for_inference(thin_weights: Weights, save: Save, record: ModelRecord) -> None:
    network = load_checkpoint(save(thin_weights), record).network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_every_element_of_every_weight_has_memory_of_its_own(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    """In the file an element stands for thousands: tensors of stride 0."""
    weights = load_checkpoint(save(thin_weights), record).network.state_dict()
    start = 0
    for tensor in weights.values():  # numbers, each written once, over all weights
        tensor.copy_(torch.arange(start, start + tensor.numel()).reshape(tensor.shape) % 2**23)
        start += tensor.numel()
    start = 0
    for tensor in weights.values():
        expected = torch.arange(start, start + tensor.numel()).reshape(tensor.shape) % 2**23
        assert torch.equal(tensor, expected.to(tensor.dtype))
        start += tensor.numel()


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "state_dict_ema"])
def test_wrapped_state_dict_is_found_and_its_key_told(
    key: str, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    checkpoint = load_checkpoint(save({"epoch": 90, key: thin_weights}), record)
    assert checkpoint.weights_key == key


def test_of_several_state_dicts_the_plain_one_is_taken(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    average = {key: torch.zeros_like(tensor) for key, tensor in thin_weights.items()}
    checkpoint = load_checkpoint(save({"state_dict_ema": average, "state_dict": thin_weights}), record)
    assert checkpoint.weights_key == "state_dict"
    assert_holds(checkpoint.network, thin_weights)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "model.",
        "backbone.",
        "net.",
        "network.",
        "model.backbone.",
    ],
)
def test_prefixes_of_training_wrappers_are_taken_off(
    prefix: str, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    weights = {prefix + key: tensor for key, tensor in thin_weights.items()}
    assert_holds(load_checkpoint(save(weights), record).network, thin_weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_weights_become_float32(
    dtype: torch.dtype, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    weights = {key: torch.ones((), dtype=dtype).expand(tensor.shape) for key, tensor in thin_weights.items()}
    network = load_checkpoint(save(weights), record).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert network.state_dict()["last_linear.weight"].eq(1).all()


def test_class_count_of_the_last_layer_is_the_records(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    ten = msgspec.structs.replace(record, output=msgspec.structs.replace(record.output, class_count=10))
    weights = thin_weights | {
        "last_linear.weight": torch.ones(()).expand(10, 128),
        "last_linear.bias": torch.ones(10),
    }
    logits = load_checkpoint(save(weights), ten).network(torch.zeros(1, 3, 64, 64))
    assert logits.shape == (1, 10)


def test_sha256_is_that_of_the_file(thin_weights: Weights, save: Save, record: ModelRecord) -> None:
    path = save(thin_weights)
    assert load_checkpoint(path, record).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# The record.


def test_unknown_architecture_names_the_known_ones(tmp_path: Path, record: ModelRecord) -> None:
    with pytest.raises(BadModelError, match=r"resnet18[\s\S]*se_resnext50_32x4d"):
        load_checkpoint(tmp_path / "w", msgspec.structs.replace(record, architecture="resnet18"))


def test_onnx_only_record_has_no_checkpoint(tmp_path: Path, record: ModelRecord) -> None:
    with pytest.raises(BadModelError, match="assay compile"):
        load_checkpoint(tmp_path / "w", msgspec.structs.replace(record, architecture="onnx only"))


@pytest.mark.parametrize("name", ["se_resnext50_32x4d-a260b3a4.pth", "copy-a260b3a4.pth"])
def test_file_that_claims_a_published_hash_must_have_it(
    name: str, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    path = save(thin_weights)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    error = refusal(path.rename(path.with_name(name)), record)
    assert "a260b3a4" in error.message
    assert found in error.message


# What is no checkpoint, or not a whole one.


def test_missing_file_is_told(tmp_path: Path, record: ModelRecord) -> None:
    assert "No such file" in refusal(tmp_path / "none.pth", record).message


def test_folder_is_refused(tmp_path: Path, record: ModelRecord) -> None:
    assert "holds no weights" in refusal(tmp_path, record).message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer"),
        (b"\n<!DOCTYPE html><html><title>Not found</title></html>", "HTML"),
        (b"The weights are in the other folder.", "begins with b'The weig'"),
        (b"\x00" * 257 + b"ustar\x00" + b"\x00" * 249, "a tar archive"),
    ],
)
def test_other_kinds_of_file_are_named(
    content: bytes, found: str, tmp_path: Path, record: ModelRecord
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert found in refusal(path, record).message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated_torch_file_is_told(
    legacy: bool, share: float, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    path = save(thin_weights, legacy=legacy)
    kept = path.read_bytes()[: int(path.stat().st_size * share)]
    path.write_bytes(kept)
    error = refusal(path, record)
    assert "truncated" in error.message
    assert f"{len(kept):,} bytes" in error.message


def test_truncated_safetensors_file_is_told(tmp_path: Path, record: ModelRecord) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"last_linear.bias": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in refusal(path, record).message


def test_zip_of_another_kind_is_refused(tmp_path: Path, record: ModelRecord) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<document/>")
    assert "torch zip" in refusal(path, record).message


def test_torchscript_program_is_refused_by_its_name(tmp_path: Path, record: ModelRecord) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for member in ("data.pkl", "constants.pkl"):
            archive.writestr(f"net/{member}", pickle.dumps({}, 2))
        archive.writestr("net/version", "3\n")
    assert "TorchScript" in refusal(path, record).message


# Pickles that want more than tensors.


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("pickle_protocol", [2, 4])
def test_code_in_a_checkpoint_is_named_and_not_run(
    legacy: bool, pickle_protocol: int, tmp_path: Path, save: Save, record: ModelRecord
) -> None:
    trap = tmp_path / "sprung"
    path = save({"a": RunsCode(trap)}, legacy=legacy, pickle_protocol=pickle_protocol)
    error = refusal(path, record)
    assert f"{os.mkdir.__module__}.mkdir" in error.message
    assert not trap.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_bare_pickle_is_named_and_not_run(
    protocol: int, tmp_path: Path, record: ModelRecord
) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(RunsCode(trap), protocol))
    error = refusal(path, record)
    assert f"{os.mkdir.__module__}.mkdir" in error.message
    assert not trap.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_network_is_refused_with_the_way_to_convert_it(
    legacy: bool, save: Save, record: ModelRecord
) -> None:
    error = refusal(save(nn.Linear(2, 2), legacy=legacy), record)
    assert "torch.nn.modules.linear.Linear" in error.message
    assert "state_dict()" in error.hint


class ForeignConfig:
    """A class that stands beside weights in a checkpoint and is installed where it was made alone."""


def test_class_beside_the_weights_is_named(thin_weights: Weights, save: Save, record: ModelRecord) -> None:
    content = {"config": ForeignConfig(), "args": argparse.Namespace(lr=0.1), "state_dict": thin_weights}
    message = refusal(save(content), record).message
    assert "ForeignConfig" in message
    assert "Namespace" not in message  # it is read


def test_torchs_advice_to_load_unsafely_is_not_passed_on(save: Save, record: ModelRecord) -> None:
    error = refusal(save({"config": ForeignConfig()}), record)
    assert "weights_only" not in error.message
    assert isinstance(error.__cause__, pickle.UnpicklingError)


def test_tensors_in_a_newer_pickle_protocol_are_not_called_code(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    assert "protocol 2" in refusal(save(thin_weights, pickle_protocol=4), record).message


# Contents that are not these weights.


def test_missing_keys_are_named_up_to_three_and_counted(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    head = {key: tensor for key, tensor in thin_weights.items() if not key.startswith("layer0")}
    expected = (
        "missing: layer0.conv1.weight, layer0.bn1.weight, layer0.bn1.bias and 2 more"  # and two statistics
    )
    assert expected in refusal(save(head), record).message


def test_unexpected_keys_are_named_up_to_three_and_counted(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    weights = thin_weights | {f"extra{n}": torch.ones(1) for n in range(5)}
    assert "unexpected: extra0, extra1, extra2 and 2 more" in refusal(save(weights), record).message


def test_a_key_reaches_no_terminal_raw(thin_weights: Weights, save: Save, record: ModelRecord) -> None:
    message = refusal(save(thin_weights | {"a\x1b[2J\nb": torch.ones(1)}), record).message
    assert r"unexpected: a\x1b[2J" in message
    assert "\x1b" not in message


def test_wrong_shape_is_told_with_both_shapes(thin_weights: Weights, save: Save, record: ModelRecord) -> None:
    weights = thin_weights | {"last_linear.bias": torch.ones(10)}
    expected = "wrong shape: last_linear.bias (expected (1000,), found (10,))"
    assert expected in refusal(save(weights), record).message


def test_same_key_with_and_without_prefix_is_refused(save: Save, record: ModelRecord) -> None:
    error = refusal(save({"module.a": torch.ones(1), "a": torch.zeros(1)}), record)
    assert "expected one tensor for a" in error.message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "nothing in it"),
        ([1, 2], "list"),
        ({"epoch": 3, "lr": 0.1}, "epoch (int), lr (float)"),
        ({"state_dict": {"a": None}}, "a (NoneType)"),
    ],
)
def test_content_that_is_no_state_dict_is_described(
    content: object, found: str, save: Save, record: ModelRecord
) -> None:
    assert found in refusal(save(content), record).message


def test_dict_that_holds_itself_is_refused(save: Save, record: ModelRecord) -> None:
    content: dict[str, object] = {}
    content["model"] = content
    assert "model (dict)" in refusal(save(content), record).message


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.zeros(1000, dtype=torch.int8), "torch.int8"),
        (torch.zeros(1000, dtype=torch.complex64), "torch.complex64"),
        (torch.zeros(1000, device="meta"), "meta"),
        (torch.zeros(1000).to_sparse(), "torch.sparse_coo"),
    ],
)
def test_tensors_without_plain_float_values_are_refused(
    tensor: Tensor, found: str, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    error = refusal(save(thin_weights | {"last_linear.bias": tensor}), record)
    assert "last_linear.bias" in error.message
    assert found in error.message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
def test_values_that_are_not_finite_in_float32_are_refused_with_their_key(
    value: float, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    bias = torch.zeros(1000, dtype=torch.float64)
    bias[3] = value
    error = refusal(save(thin_weights | {"last_linear.bias": bias}), record)
    assert "NaN or infinity" in error.message
    assert "last_linear.bias" in error.message


def test_missing_safetensors_package_names_what_to_install(
    tmp_path: Path, record: ModelRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(1)}, path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingRuntimeError, match="assay\\[export\\]"):
        load_checkpoint(path, record)


def test_no_output_and_no_warning_leaks_from_torch(
    save: Save, record: ModelRecord, capfd: pytest.CaptureFixture[str]
) -> None:
    refusal(save({"a": io.StringIO}, pickle_protocol=4), record)  # torch warns of the protocol
    assert capfd.readouterr() == ("", "")
