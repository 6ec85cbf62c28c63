"""Makes a network from a weights file, without ever running code that the file carries."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch
from torch import Tensor, nn

from assay.checkpoint.network import ARCHITECTURES
from assay.errors import BadCheckpointError, BadModelError, missing_package
from assay.files import hash_file
from assay.models.record import ONNX_ONLY, ModelRecord

FileFormat = Literal["torch zip", "torch legacy", "safetensors"]

WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema")
PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")  # DataParallel and its kin; torch.compile
COUNTER = ".num_batches_tracked"  # torch has it since 0.4.1; inference does not read it
FLOAT_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTER_DTYPES = (torch.int64, torch.int32, *FLOAT_DTYPES)
# Starts of a pickle: protocols 0 to 5 with a header, or protocol 0, which has none, with an import.
PICKLE_START = re.compile(rb"\x80[\x00-\x05]|c[\w.]+\n[\w.]+\n")
LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")  # the number that a legacy file begins with
SAVE_HINT = "save the weights alone: torch.save(network.state_dict(), FILE)"
# What the safe loader rebuilds tensors with; any other name in a pickle wants code that is not torch's.
TENSOR_GLOBAL = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.(\w+Storage|Size|b?float\d+|int\d+)"
)
# What torch and safetensors are known to raise on damaged files, found by flipping and cutting bytes.
READ_ERRORS = (
    RuntimeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network that holds the weights of a file, and what is known of that file.

    Attributes:
        network: In eval mode, on the CPU, float32, no gradients.
        sha256: Of the whole file, 64 lower-case hex digits.
        file_format: Recognised by the file's content.
        state_dict_key: Where in the file the weights were, such as "state_dict"; "" for its top level.
    """

    network: nn.Module
    sha256: str
    file_format: FileFormat
    state_dict_key: str


def load_checkpoint(path: Path, record: ModelRecord) -> Checkpoint:
    """Return the network of the record's architecture with the weights in `path`.

    Code in the file is never run, whatever is asked: a file that needs some is refused. Every key of
    the network must be there with its shape, and none besides; only BatchNorm's batch counters may be
    missing. Half precision, bfloat16 and double weights become float32. Where a file holds several
    sets of weights, the first of `WRAPPERS` is taken, and `state_dict_key` says which.

    Args:
        path: A state_dict that torch.save wrote (zip or legacy format) or a safetensors file.
        record: Gives the architecture, the class count, and the hashes of the files it knows by name.

    Raises:
        BadCheckpointError: The file is not there, not whole, not safe, or not these weights.
        BadModelError: The record's architecture is not one that can be loaded into.
        MissingRuntimeError: A safetensors file, but the package is not installed.
    """
    check_architecture(record)
    head, sha256 = _read_head_and_hash(path)
    file_format = _recognise_format(head, path)
    _check_hash(sha256, path, record)
    content = _read_safetensors(path) if file_format == "safetensors" else _read_torch(path, file_format)
    state_dict, state_dict_key = _find_state_dict(content, path)
    network = _fill_network(state_dict, record, path)
    return Checkpoint(network=network, sha256=sha256, file_format=file_format, state_dict_key=state_dict_key)


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
            f"model record {record.name}: no network is called {record.architecture!r}",
            hint=f"architecture is one of: {', '.join([*ARCHITECTURES, ONNX_ONLY])}",
        )


def _read_head_and_hash(path: Path) -> tuple[bytes, str]:
    """Return the first 512 bytes of the file, and its sha256."""
    try:
        with path.open("rb") as file:
            return file.read(512), hash_file(path)
    except OSError as error:  # missing, a directory, not readable
        raise BadCheckpointError(
            f"weights {path} cannot be read: {error.strerror}", hint="expected the path of a weights file"
        ) from error


def _recognise_format(head: bytes, path: Path) -> FileFormat:
    if head.startswith(b"PK\x03\x04"):
        return "torch zip"
    if PICKLE_START.match(head):
        return "torch legacy"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:  # the length of the JSON header
        return "safetensors"
    found, hint = _describe_foreign(head)
    raise BadCheckpointError(
        f"weights {path}: expected a file that torch.save or safetensors wrote, found {found}", hint=hint
    )


def _describe_foreign(head: bytes) -> tuple[str, str]:
    """Return what a file that is no checkpoint seems to be, and what to do about it."""
    if not head:
        return "an empty file", "download it again"
    if head.startswith(b"version https://git-lfs"):
        return "a git-LFS pointer to it", "fetch the file itself: git lfs pull"
    if head.lstrip().startswith(b"<"):
        return "an HTML or XML page", "the link led to a web page: download the file itself"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it; the tar format of torch before 0.1.10 must be saved anew"
    return f"one that begins with {head[:8]!r}", "give the weights file as it was published"


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


def _read_safetensors(path: Path) -> object:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise missing_package("safetensors", "export") from error
    try:
        return load_file(path)
    except (SafetensorError, *READ_ERRORS) as error:
        raise _damaged(path, "safetensors", error) from error


def _read_torch(path: Path, file_format: FileFormat) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols and old storages: not the user's to heed
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises weights_only=False: not passed on
        raise _refused(path, file_format, error) from error
    except READ_ERRORS as error:
        if "TorchScript" in str(error):
            raise BadCheckpointError(
                f"weights {path}: expected tensors alone, found a TorchScript program", hint=SAVE_HINT
            ) from error
        raise _damaged(path, file_format, error) from error


def _damaged(path: Path, file_format: FileFormat, error: Exception) -> BadCheckpointError:
    reason = str(error) or type(error).__name__
    first_sentence = reason.splitlines()[0].split(". ")[0]
    return BadCheckpointError(
        f"weights {path} are truncated, damaged or of another kind: expected a whole {file_format} file, "
        f"found {path.stat().st_size:,} bytes ({first_sentence})",
        hint="download or copy the file again, and compare its size with the original's",
    )


def _refused(path: Path, file_format: FileFormat, error: Exception) -> BadCheckpointError:
    """Return the error for a pickle that torch's safe loader refused with `error`."""
    try:
        names = _list_foreign_globals(path, file_format)
    except READ_ERRORS as scan_error:
        return _damaged(path, file_format, scan_error)
    names.sort(key=lambda name: name not in str(error).split())  # the one that torch names comes first
    if not names:
        return BadCheckpointError(
            f"weights {path}: expected a pickle of protocol 2, found one that the safe loader cannot read",
            hint="save them anew with torch.save and its default pickle_protocol",
        )
    return BadCheckpointError(
        f"weights {path} were refused: expected tensors alone, found a pickle that wants to run code: "
        f"{_first_three(names)}",
        hint="if you trust whoever made it, convert it where its classes are installed: "
        "net = torch.load(FILE, weights_only=False), then torch.save(net.state_dict(), NEW_FILE)",
    )


def _list_foreign_globals(path: Path, file_format: FileFormat) -> list[str]:
    """Return the functions and classes a checkpoint's pickles name beyond torch's own for tensors."""
    if file_format == "torch zip":
        with zipfile.ZipFile(path) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            names = _list_globals(io.BytesIO(archive.read(member)))
    else:
        with path.open("rb") as file:
            # torch.save wrote five pickles: a number, its version, system facts, the content, storage keys.
            pickle_count = 5 if LEGACY_MAGIC in file.read(32) else 1
            file.seek(0)
            names = [name for _ in range(pickle_count) for name in _list_globals(file)]
    return [name for name in dict.fromkeys(names) if not TENSOR_GLOBAL.fullmatch(name)]


def _list_globals(stream: IO[bytes]) -> list[str]:
    """Return the dotted names that the next pickle in `stream` would import, without importing any."""
    names: list[str] = []
    strings: list[str] = []
    memo: dict[int, str] = {}
    for opcode, value, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            names.append(str(value).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":  # protocol 4: module and name are the last two strings
            names.append(".".join(strings[-2:]))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif isinstance(value, int) and opcode.name in ("BINGET", "LONG_BINGET"):
            strings.append(memo.get(value, ""))
        elif isinstance(value, str):
            strings.append(value)
    return [ascii(name)[1:-1] for name in names]  # the file's maker chose them: nothing for the terminal


def _find_state_dict(content: object, path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors by name, without wrappers and prefixes, and the wrappers' keys."""
    wrappers: list[str] = []
    while isinstance(content, dict) and len(wrappers) < 2:  # a pickled dict can hold itself
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if wrapper is None:
            break
        content = content[wrapper]
        wrappers.append(wrapper)
    if not isinstance(content, dict) or not content:
        found = "nothing in it" if content == {} else type(content).__name__
        raise BadCheckpointError(f"weights {path}: expected a state_dict, found {found}", hint=SAVE_HINT)
    strangers = [
        f"{key} ({type(value).__name__})" for key, value in content.items() if not isinstance(value, Tensor)
    ]
    if strangers:
        raise BadCheckpointError(
            f"weights {path}: expected tensors alone, or one of the keys {', '.join(WRAPPERS)}; "
            f"found {_first_three(strangers)}",
            hint=SAVE_HINT,
        )
    return _strip_prefixes(content, path), ".".join(wrappers)


def _strip_prefixes(tensors: dict[Any, Tensor], path: Path) -> dict[str, Tensor]:
    stripped: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = PREFIXES.sub("", str(key))
        if name in stripped:
            raise BadCheckpointError(
                f"weights {path}: expected one tensor for {name}, found two", hint=SAVE_HINT
            )
        stripped[name] = tensor
    return stripped


def _fill_network(state_dict: dict[str, Tensor], record: ModelRecord, path: Path) -> nn.Module:
    with torch.device("meta"):  # no random weights are drawn only to be overwritten
        network = ARCHITECTURES[record.architecture](record.output.class_count)
    expected = network.state_dict()
    _check_keys(
        state_dict,
        expected,
        f"weights {path} do not fit {record.architecture} with {record.output.class_count} classes",
    )
    _check_kinds(state_dict, path)
    zero = torch.zeros((), dtype=torch.int64)
    network.to_empty(device="cpu")
    network.load_state_dict({key: state_dict.get(key, zero) for key in expected}, strict=True)
    bad = [key for key, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise BadCheckpointError(
            f"weights {path}: expected finite values, found NaN or infinity in {_first_three(bad)}",
            hint="the training that wrote them diverged, or the file is damaged: take another one",
        )
    return network.eval().requires_grad_(False)


def _check_keys(found: dict[str, Tensor], expected: dict[str, Tensor], failure: str) -> None:
    missing = [key for key in expected if key not in found and not key.endswith(COUNTER)]
    unexpected = [key for key in found if key not in expected]
    misshaped = [
        f"{key} (expected {tuple(expected[key].shape)}, found {tuple(found[key].shape)})"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "wrong shape": misshaped}
    listed = [f"{fault}: {_first_three(names)}" for fault, names in faults.items() if names]
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
            f"weights {path}: expected dense floating-point tensors, found {_first_three(strangers)}",
            hint="give the float weights; assay quantises them itself",
        )


def _first_three(names: Sequence[str]) -> str:
    """Return the names, of more than three the first three and how many more there are.

    >>> _first_three(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
