"""Reads what is in a weights file, by its content's format, without ever running code that it carries."""

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
from typing import IO, Literal

import torch

from assay.checkpoint.harmless import list_harmless, list_harmless_names
from assay.checkpoint.weights_choice import name_first_three
from assay.errors import BadCheckpointError, missing_package, shorten

FileFormat = Literal["torch zip", "torch legacy", "safetensors"]
SAVE_HINT = "save the weights alone: torch.save(network.state_dict(), FILE)"

# Where training scripts put the weights, the plain ones first: the first that is there is taken.
WRAPPERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "network",
    "net",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "ema",
    "params_ema",
)
# Starts of a pickle: protocols 0 to 5 with a header, or protocol 0, which has none, with an import.
PICKLE_START = re.compile(rb"\x80[\x00-\x05]|c[\w.]+\n[\w.]+\n")
LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")  # the number that a legacy file begins with
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


def recognise_format(head: bytes, path: Path) -> FileFormat:
    """The format of a weights file by its first 512 bytes.

    Raises:
        BadCheckpointError: Another kind of file; says which.
    """
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
    """What a file that is no checkpoint seems to be, and what to do about it."""
    if not head:
        return "an empty file", "download it again"
    if head.startswith(b"version https://git-lfs"):
        return "a git-LFS pointer to it", "fetch the file itself: git lfs pull"
    if head.lstrip().startswith(b"<"):
        return "an HTML or XML page", "the link led to a web page: download the file itself"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it; the tar format of torch before 0.1.10 must be saved anew"
    return f"one that begins with {head[:8]!r}", "give the weights file as it was published"


def read_content(path: Path, file_format: FileFormat) -> object:
    """What the file holds: mostly a dict of tensors by name, on the CPU.

    Raises:
        BadCheckpointError: The file is damaged, or wants to run code; says whose.
        MissingRuntimeError: A safetensors file, but the package is not installed.
    """
    return _read_safetensors(path) if file_format == "safetensors" else _read_torch(path, file_format)


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
            with torch.serialization.safe_globals(list_harmless()):
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises weights_only=False: not passed on
        raise _refused(path, file_format, error) from error
    except READ_ERRORS as error:
        if "TorchScript" in str(error):
            raise BadCheckpointError(
                f"weights {path}: expected tensors alone, found a TorchScript program",
                hint="if you trust whoever made it, save its weights: "
                + _write_conversion(f'torch.jit.load({str(path)!r}, map_location="cpu").state_dict()'),
            ) from error
        raise _damaged(path, file_format, error) from error


def _damaged(path: Path, file_format: FileFormat, error: Exception) -> BadCheckpointError:
    first_sentence = shorten((str(error) or type(error).__name__).splitlines()[0].split(". ")[0])
    return BadCheckpointError(
        f"weights {path} are truncated, damaged or of another kind: expected a whole {file_format} file, "
        f"found {path.stat().st_size:,} bytes ({first_sentence})",
        hint="download or copy the file again, and compare its size with the original's",
    )


def _refused(path: Path, file_format: FileFormat, error: Exception) -> BadCheckpointError:
    """Make the error for a pickle that torch's safe loader refused with `error`."""
    try:
        pickles = _read_pickles(path, file_format)
    except READ_ERRORS as scan_error:
        return _damaged(path, file_format, scan_error)
    names = [name for one in pickles for name in one.global_names]
    harmless = list_harmless_names()
    names = [name for name in dict.fromkeys(names) if not TENSOR_GLOBAL.fullmatch(name)]
    names = [name for name in names if name not in harmless]
    names.sort(key=lambda name: name not in str(error).split())  # the one that torch names comes first
    if not names:
        return BadCheckpointError(
            f"weights {path}: expected a pickle of protocol 2, found one that the safe loader cannot read",
            hint="if you trust whoever made it, save it anew: " + _write_conversion(_write_load(path)),
        )
    return BadCheckpointError(
        f"weights {path} were refused: expected tensors alone, found a pickle that wants to run code: "
        f"{shorten(name_first_three(names))}",
        hint="if you trust whoever made it, convert it where its classes are installed: "
        + _write_conversion(_write_extraction(path, pickles)),
    )


def _write_load(path: Path) -> str:
    return f'torch.load({str(path)!r}, map_location="cpu", weights_only=False)'


def _write_conversion(weights: str) -> str:
    """Write the Python line that saves the weights, an expression, as a file that is read here."""
    return f'import torch; torch.save({weights}, "NEW_FILE.pth")'


def _write_extraction(path: Path, pickles: Sequence[PickleScan]) -> str:
    """Write the Python expression that gives the weights of a file, by what its pickles name."""
    load = _write_load(path)
    content = max(pickles, key=lambda one: len(one.strings))  # not the small ones around it in the old format
    if not content.makes_dict:
        return f"{load}.state_dict()"
    key = next((name for name in WRAPPERS if name in content.strings), None)
    if key is None:
        return f"{{k: v for k, v in {load}.items() if torch.is_tensor(v)}}"
    if any(name.startswith("torch.nn.modules.") for name in content.global_names):
        return f'(lambda w: w if isinstance(w, dict) else w.state_dict())({load}["{key}"])'
    return f'{load}["{key}"]'


@dataclass(frozen=True, kw_only=True)
class PickleScan:
    """What a pickle names, read without running any of it.

    Args:
        global_names: The dotted names that it would import.
        strings: The other texts in it, keys among them.
        makes_dict: Whether a dict comes out.
    """

    global_names: list[str]
    strings: set[str]
    makes_dict: bool


def _read_pickles(path: Path, file_format: FileFormat) -> list[PickleScan]:
    """Scan a checkpoint's pickles: one, or the five of the old format."""
    if file_format == "torch zip":
        with zipfile.ZipFile(path) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return [_scan_pickle(io.BytesIO(archive.read(member)))]
    with path.open("rb") as file:
        # torch.save wrote five pickles: a number, its version, system facts, the content, storage keys.
        pickle_count = 5 if LEGACY_MAGIC in file.read(32) else 1
        file.seek(0)
        return [_scan_pickle(file) for _ in range(pickle_count)]


def _scan_pickle(stream: IO[bytes]) -> PickleScan:
    """Scan the next pickle in `stream`."""
    names: list[str] = []
    strings: list[str] = []
    memo: dict[int, str] = {}
    first = ""
    for opcode, value, _ in pickletools.genops(stream):
        if not first and opcode.name not in ("PROTO", "FRAME", "MARK") and not isinstance(value, str):
            first = opcode.name
        if opcode.name in ("GLOBAL", "INST"):
            names.append(str(value).replace(" ", "."))
            first = first or names[0]
        elif opcode.name == "STACK_GLOBAL":  # protocol 4: module and name are the last two strings
            names.append(".".join(strings[-2:]))
            first = names[0] if first == "STACK_GLOBAL" else first
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif isinstance(value, int) and opcode.name in ("BINGET", "LONG_BINGET"):
            strings.append(memo.get(value, ""))
        elif isinstance(value, str):
            strings.append(value)
    return PickleScan(
        # the file's maker chose them: nothing for the terminal
        global_names=[ascii(name)[1:-1] for name in names],
        strings=set(strings),
        makes_dict=first in ("EMPTY_DICT", "DICT", "collections.OrderedDict"),
    )
