"""Reads what is in a weights file, by its content's format, without ever running code that it carries."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import torch

from assay.checkpoint.harmless import list_harmless, list_harmless_names
from assay.checkpoint.pickles import PickleScan, count_copied, scan_pickle
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
MOST_WRAPPERS = 3  # one in the other; a pickled dict can hold itself
# Starts of a pickle: protocols 0 to 5 with a header, or protocol 0, which has none, with an import.
PICKLE_START = re.compile(rb"\x80[\x00-\x05]|c[\w.]+\n[\w.]+\n")
LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")  # the number that a legacy file begins with
# What the safe loader rebuilds tensors with; any other name in a pickle wants code that is not torch's.
TENSOR_GLOBAL = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.(\w+Storage|Size|b?float\d+|int\d+)"
)
READ_ERRORS = Exception  # of torch and safetensors, which do not say what they raise on damaged files
SPARE_BYTES = 2**29  # what a small file may unpack to
MOST_REPEATED = 8  # tensors that share their memory, beyond that: averages of weights, tied ones
MAX_PICKLE_BYTES = 2**26


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
        BadCheckpointError: The file is damaged, wants to run code, or unpacks to far more than it holds.
        MissingRuntimeError: A safetensors file, but the package is not installed.
    """
    if file_format == "safetensors":
        return _read_safetensors(path)
    _refuse_expanding(path, file_format)
    content = _read_torch(path, file_format)
    # strides that repeat elements, and one memory under many names
    tensors = list_tensors(content).values()
    _refuse_size(path, sum(tensor.numel() * tensor.element_size() for tensor in tensors))
    return content


def _read_safetensors(path: Path) -> object:
    try:
        import safetensors.torch
    except ImportError as error:
        raise missing_package("safetensors", "export") from error
    try:
        return safetensors.torch.load_file(path)
    except READ_ERRORS as error:
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


def _refuse_expanding(path: Path, file_format: FileFormat) -> None:
    """Refuse a file that would unpack to far more than it holds, before anything is unpacked.

    Raises:
        BadCheckpointError: As it says; or the file is damaged.
    """
    size = path.stat().st_size
    try:
        if file_format == "torch zip":  # compressed, or with members in one another: torch.save writes none
            with zipfile.ZipFile(path) as archive:
                _refuse_size(path, sum(member.file_size for member in archive.infolist()))
        copied = sum(map(count_copied, _open_pickles(path, file_format)))
    except BadCheckpointError:
        raise
    except READ_ERRORS as error:
        raise _damaged(path, file_format, error) from error
    if copied > max(2**20, size // 16):
        raise BadCheckpointError(
            f"weights {path} were refused: what lies beside the tensors would unpack to {copied:,} values",
            hint=SAVE_HINT,
        )


def _refuse_size(path: Path, unpacked: int) -> None:
    """Refuse what unpacks to far more bytes than the file has."""
    size = path.stat().st_size
    if unpacked > MOST_REPEATED * size + SPARE_BYTES:
        raise BadCheckpointError(
            f"weights {path} were refused: {unpacked:,} bytes in a file of {size:,}",
            hint="save them whole, as torch.save does: tensors that are contiguous, nothing compressed",
        )


def list_tensors(content: object, depth: int = MOST_WRAPPERS) -> dict[int, torch.Tensor]:
    """The tensors in the dicts of what a file holds, each once, by its `id`."""
    found: dict[int, torch.Tensor] = {}
    dicts = [content]
    for _ in range(depth + 1):
        values = {id(value): value for each in dicts if isinstance(each, Mapping) for value in each.values()}
        found |= {key: value for key, value in values.items() if isinstance(value, torch.Tensor)}
        dicts = list(values.values())
    return found


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


def _read_pickles(path: Path, file_format: FileFormat) -> list[PickleScan]:
    """Scan a checkpoint's pickles: one, or the five of the old format."""
    return [scan_pickle(stream) for stream in _open_pickles(path, file_format)]


def _open_pickles(path: Path, file_format: FileFormat) -> Iterator[IO[bytes]]:
    """Yield a stream that stands at a pickle, for each: it must be read to its end."""
    if file_format == "torch zip":
        with zipfile.ZipFile(path) as archive:
            (member,) = [one for one in archive.infolist() if one.filename.endswith("data.pkl")]
            if member.file_size > MAX_PICKLE_BYTES:
                raise BadCheckpointError(
                    f"weights {path} were refused: what lies beside the tensors takes {member.file_size:,} "
                    f"bytes, over {MAX_PICKLE_BYTES:,}",
                    hint=SAVE_HINT,
                )
            yield io.BytesIO(archive.read(member))
        return
    with path.open("rb") as file:
        # torch.save wrote five pickles: a number, its version, system facts, the content, storage keys.
        pickle_count = 5 if LEGACY_MAGIC in file.read(32) else 1
        file.seek(0)
        for _ in range(pickle_count):
            yield file
