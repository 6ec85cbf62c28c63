"""Makes a network from a weights file, without ever running code that the file carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from assay.checkpoint.choose_weights import choose_weights
from assay.checkpoint.network import ARCHITECTURES
from assay.checkpoint.read_weights import FileFormat, read_content, recognise_format
from assay.checkpoint.weights_choice import name_first_three
from assay.errors import BadCheckpointError, BadModelError, quote, shorten
from assay.files import hash_file
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
        path: A state_dict that torch.save wrote (zip or legacy format) or a safetensors file.
        record: Gives the architecture, the class count, and the hashes of the files it knows by name.
        weights_key: Which set of weights to take instead; see `choose_weights`.

    Raises:
        BadCheckpointError: The file is not there, not whole, not safe, or not these weights.
        BadModelError: The record's architecture is not one that can be loaded into.
        MissingRuntimeError: A safetensors file, but the package is not installed.
    """
    check_architecture(record)
    head, sha256 = _read_head_and_hash(path)
    file_format = recognise_format(head, path)
    _check_hash(sha256, path, record)
    with torch.device("meta"):  # no random weights are drawn only to be overwritten
        network = ARCHITECTURES[record.architecture](record.output.class_count)
    chosen = choose_weights(read_content(path, file_format), network.state_dict().keys(), path, weights_key)
    failure = f"weights {path} do not fit {record.architecture} with {record.output.class_count} classes"
    _fill_network(network, chosen.tensors, failure, path)
    return Checkpoint(
        network=network.eval().requires_grad_(False),
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
    if record.architecture not in ARCHITECTURES:
        raise BadModelError(
            f"model record {record.name}: no network is called {quote(record.architecture)}",
            hint=f"architecture is one of: {', '.join([*ARCHITECTURES, ONNX_ONLY])}",
        )


def _read_head_and_hash(path: Path) -> tuple[bytes, str]:
    """The first 512 bytes of the file, and its sha256."""
    try:
        with path.open("rb") as file:
            return file.read(512), hash_file(path)
    except OSError as error:  # missing, a directory, not readable
        raise BadCheckpointError(
            f"weights {path} cannot be read: {error.strerror}", hint="expected the path of a weights file"
        ) from error


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


def _fill_network(network: nn.Module, state_dict: dict[str, Tensor], failure: str, path: Path) -> None:
    """Give a network on the meta device its weights, after checking every one."""
    expected = network.state_dict()
    _check_keys(state_dict, expected, failure)
    _check_kinds(state_dict, path)
    zero = torch.zeros((), dtype=torch.int64)
    network.to_empty(device="cpu")
    network.load_state_dict({key: state_dict.get(key, zero) for key in expected}, strict=True)
    bad = [key for key, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise BadCheckpointError(
            f"weights {path}: expected finite values, found NaN or infinity in {name_first_three(bad)}",
            hint="the training that wrote them diverged, or the file is damaged: take another one",
        )


def _check_keys(found: dict[str, Tensor], expected: dict[str, Tensor], failure: str) -> None:
    missing = [key for key in expected if key not in found and not key.endswith(COUNTER)]
    unexpected = [key for key in found if key not in expected]
    misshaped = [
        f"{key} (expected {tuple(expected[key].shape)}, found {tuple(found[key].shape)})"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "wrong shape": misshaped}
    listed = [f"{fault}: {shorten(name_first_three(names), 300)}" for fault, names in faults.items() if names]
    if listed:
        raise BadCheckpointError(
            f"{failure}: {'; '.join(listed)}",
            hint="give the record of these weights with --model, or the weights of this record",
        )


def _check_kinds(state_dict: dict[str, Tensor], path: Path) -> None:
    strangers = [
        f"{key} ({tensor.dtype}, {tensor.layout}, {tensor.device})"
        for key, tensor in state_dict.items()
        if tensor.layout != torch.strided
        or tensor.device.type != "cpu"  # "meta" has no values
        or tensor.dtype not in (COUNTER_DTYPES if key.endswith(COUNTER) else FLOAT_DTYPES)
    ]
    if strangers:
        raise BadCheckpointError(
            f"weights {path}: expected dense floating-point tensors, found {name_first_three(strangers)}",
            hint="give the float weights",
        )
