"""Makes a network from a weights file, without ever running code that the file carries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from assay.checkpoint.choose_weights import choose_weights, list_tensor_names
from assay.checkpoint.network import ARCHITECTURES
from assay.checkpoint.read_weights import FileFormat, read_content, recognise_format
from assay.checkpoint.weights_choice import name_first_three
from assay.checkpoint.zoo import (
    build_zoo_network,
    fill_by_transformers,
    is_zoo_network,
    parameters_on_meta,
    rename_by_timm,
    try_network,
)
from assay.errors import BadCheckpointError, BadModelError, quote, shorten
from assay.models.hugging_face.folder import hash_weights, list_weight_files
from assay.models.record import ONNX_ONLY, ModelRecord

COUNTER = ".num_batches_tracked"  # torch has it since 0.4.1; inference does not read it
FLOAT_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTER_DTYPES = (torch.int64, torch.int32, *FLOAT_DTYPES)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network that holds the weights of a file, and what is known of that file.

    Attributes:
        network: In eval mode, on the CPU, float32, no gradients.
        sha256: Of the whole file, 64 lower-case hex digits.
        file_format: Recognised by the file's content.
        weights_key: Where in the file the weights were, such as "state_dict"; "" for its top level.
        other_keys: Where the file holds other sets of the same weights.
    """

    network: nn.Module
    sha256: str
    file_format: FileFormat
    weights_key: str
    other_keys: tuple[str, ...]


def load_checkpoint(path: Path, record: ModelRecord, weights_key: str | None = None) -> Checkpoint:
    """Make the network of the record's architecture with the weights in `path`.

    Code in the file is never run, whatever is asked: a file that needs some is refused. Every key of
    the network must be there with its shape, and none besides; only BatchNorm's batch counters may be
    missing. Half precision, bfloat16 and double weights become float32. Where a file holds several
    sets of weights, the plain ones are taken, and `weights_key` says which.

    Args:
        path: A state_dict that torch.save wrote (zip or legacy format), a safetensors file, or a folder with
            one of them or with safetensors in shards.
        record: Gives the architecture, the class count, and the hashes of the files it knows by name.
        weights_key: Which set of weights to take instead; see `choose_weights`.

    Raises:
        BadCheckpointError: The file is not there, not whole, not safe, or not these weights.
        BadModelError: The record's architecture is not one that can be loaded into, or does not take its
            images.
        MissingRuntimeError: The package that reads the file, or builds the network, is not installed.
    """
    check_architecture(record)
    files = list_weight_files(path)
    head, sha256 = _read_head_and_hash(files)
    file_format = recognise_format(head, files[0])
    _check_hash(sha256, path, record)
    content = _read_all(files, file_format)
    network = _build_network(record, list_tensor_names(content))
    # transformers knows its files' names, which may be none of the network's
    expected = {
        *network.state_dict(),
        *(list_tensor_names(content) if _is_of("transformers", record) else ()),
    }
    chosen = choose_weights(content, expected, path, weights_key)
    network = _fill_network(network, chosen.tensors, record, path).eval().requires_grad_(False)
    if is_zoo_network(record.architecture):
        try_network(network, record)
    return Checkpoint(
        network=network,
        sha256=sha256,
        file_format=file_format,
        weights_key=chosen.key,
        other_keys=chosen.other_keys,
    )


def check_architecture(record: ModelRecord) -> None:
    """Refuse a record whose weights cannot be loaded into a network.

    Raises:
        BadModelError: The architecture is "onnx only", or not known here.
    """
    if record.architecture == ONNX_ONLY:
        raise BadModelError(
            f"model record {record.name} is {ONNX_ONLY!r}: it has no network to load a checkpoint into",
            hint="give its ONNX file to `assay compile`",
        )
    if record.architecture not in ARCHITECTURES and not is_zoo_network(record.architecture):
        raise BadModelError(
            f"model record {record.name}: no network is called {quote(record.architecture)}",
            hint=f"architecture is one of: {', '.join([*ARCHITECTURES, ONNX_ONLY])}, timm/NAME, "
            "torchvision/NAME, transformers/NAME",
        )


def _read_head_and_hash(files: Sequence[Path]) -> tuple[bytes, str]:
    """The first 512 bytes of the first file, and the sha256 of all."""
    try:
        with files[0].open("rb") as file:
            return file.read(512), hash_weights(files)
    except OSError as error:  # missing, a directory, not readable
        raise BadCheckpointError(
            f"weights {files[0]} cannot be read: {error.strerror}",
            hint="expected the path of a weights file, or of a folder with one",
        ) from error


def _read_all(files: Sequence[Path], file_format: FileFormat) -> object:
    """What the file holds, or the tensors of all shards."""
    if len(files) == 1:
        return read_content(files[0], file_format)
    tensors: dict[str, object] = {}
    for file in files:
        shard = read_content(file, "safetensors")
        assert isinstance(shard, dict)
        if twice := sorted(tensors.keys() & shard.keys()):
            raise BadCheckpointError(f"weights {file}: {shorten(twice[0])} is in another shard, too")
        tensors |= shard
    return tensors


def _check_hash(sha256: str, path: Path, record: ModelRecord) -> None:
    """Refuse a file whose name claims to be one of the record's weights, but whose hash is not."""
    for known in record.weights:
        claimed = path.name == known.file_name or f"-{known.sha256_prefix}." in path.name
        if claimed and not sha256.startswith(known.sha256_prefix):
            size = f" and {known.size_bytes:,} bytes" if known.size_bytes else ""
            raise BadCheckpointError(
                f"weights {path} are not the published file: expected sha256 {known.sha256_prefix}...{size}, "
                f"found {sha256} and {path.stat().st_size:,} bytes",
                hint=f"fetch it again (assay fetch {record.name}), or rename it if it is another file",
            )


def _build_network(record: ModelRecord, weight_names: Collection[str]) -> nn.Module:
    """The network of the record's architecture, its parameters on the meta device."""
    if is_zoo_network(record.architecture):
        return build_zoo_network(record, weight_names)
    with parameters_on_meta():
        return ARCHITECTURES[record.architecture](record.output.class_count)


def _is_of(library: str, record: ModelRecord) -> bool:
    return record.architecture.startswith(f"{library}/")


def _fill_network(
    network: nn.Module, tensors: dict[str, Tensor], record: ModelRecord, path: Path
) -> nn.Module:
    """The network with its weights, after checking every one."""
    failure = f"weights {path} do not fit {record.architecture} with {record.output.class_count} classes"
    if _is_of("transformers", record):
        _check_kinds(tensors, {}, path)
        network, faults = fill_by_transformers(network, tensors)
        _refuse_faults(faults, failure)
    else:
        tensors = rename_by_timm(network, tensors) if _is_of("timm", record) else tensors
        expected = network.state_dict()
        _refuse_faults(_find_faults(tensors, expected), failure)
        _check_kinds(tensors, expected, path)
        own = {key: _copy_as(tensors.get(key), tensor) for key, tensor in expected.items()}
        network.load_state_dict(own, strict=True, assign=True)
    bad = [key for key, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise BadCheckpointError(
            f"weights {path}: expected finite values, found NaN or infinity in {name_first_three(bad)}",
            hint="the training that wrote them diverged, or the file is damaged: take another one",
        )
    return network


def _copy_as(found: Tensor | None, expected: Tensor) -> Tensor:
    """A copy of what was found, with the expected dtype; zeros for a counter that is missing."""
    copy = torch.zeros(expected.shape, dtype=expected.dtype)
    return copy if found is None else copy.copy_(found)


def _find_faults(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, list[str]]:
    misshaped = [
        f"{key} (expected {tuple(expected[key].shape)}, found {tuple(found[key].shape)})"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    return {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "wrong shape": misshaped,
    }


def _refuse_faults(faults: dict[str, list[str]], failure: str) -> None:
    """Refuse weights with faults; only BatchNorm's counters may be missing."""
    faults = faults | {"missing": [key for key in faults["missing"] if not key.endswith(COUNTER)]}
    listed = [f"{fault}: {shorten(name_first_three(names), 300)}" for fault, names in faults.items() if names]
    if listed:
        raise BadCheckpointError(
            f"{failure}: {'; '.join(listed)}",
            hint="give the record of these weights with --model: assay inspect FILE says whose they are",
        )


def _check_kinds(state_dict: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    """Refuse other tensors than dense floating-point ones; a network's whole numbers are its constants."""
    strangers = [
        f"{key} ({tensor.dtype}, {tensor.layout}, {tensor.device})"
        for key, tensor in state_dict.items()
        if tensor.layout != torch.strided
        or tensor.device.type != "cpu"  # "meta" has no values
        or not (
            tensor.dtype in (COUNTER_DTYPES if key.endswith(COUNTER) else FLOAT_DTYPES)
            or _is_constant(tensor, expected.get(key))
        )
    ]
    if strangers:
        raise BadCheckpointError(
            f"weights {path}: expected dense floating-point tensors, found {name_first_three(strangers)}",
            hint="give the float weights",
        )


def _is_constant(found: Tensor, expected: Tensor | None) -> bool:
    """Whether these are the whole numbers that the network has computed itself, such as an index."""
    return expected is not None and not expected.is_floating_point() and torch.equal(found, expected)
