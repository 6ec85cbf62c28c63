"""A compiled model that came over the network, in a folder of the user's cache that its content names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from filelock import FileLock
from platformdirs import user_cache_path

from assay.engines.compiled_model import COMPILED_JSON, CompiledModel, read_compiled_json
from assay.errors import BadModelError, quote, shorten
from assay.files import hash_file, is_inner_path, write_folder_in_place_of
from assay.images.forms.object_store import find_url
from assay.runs.remote_store import RemoteStore


def hash_compiled(compiled: CompiledModel, compiled_dir: Path) -> str:
    """Compute the sha256, as 64 hex digits, of all that a compiled model's folder holds."""
    return _hash_names({**compiled.files, COMPILED_JSON: hash_file(compiled_dir / COMPILED_JSON)})


def _hash_names(names: Mapping[str, str]) -> str:
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sorted(names.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_files(compiled: CompiledModel, compiled_dir: Path) -> dict[str, bytes]:
    """Read the content of every file of a compiled model by its name, `compiled.json` among them."""
    return {name: (compiled_dir / name).read_bytes() for name in (*compiled.files, COMPILED_JSON)}


def fetch_compiled(path: Path) -> Path:
    """Give the folder of a compiled model: the path itself or, where it is a URL, a copy in the user's cache.

    Raises:
        BadModelError: Behind the URL is none, or not what its `compiled.json` says.
        SourceError: The store failed.
    """
    url = find_url(path)
    if url is None:
        return path
    store = RemoteStore(url)
    if COMPILED_JSON not in store.list_files():
        raise BadModelError(
            f"{url} holds no compiled model: no {COMPILED_JSON}",
            hint="expected a copy of a folder written by `assay compile`",
        )
    content = store.read(COMPILED_JSON)
    try:
        files = msgspec.json.decode(content, type=_Files).files
    except msgspec.DecodeError as error:
        raise BadModelError(f"{url}/{COMPILED_JSON} cannot be read: {shorten(error)}") from error
    sha256 = _hash_names({**files, COMPILED_JSON: hashlib.sha256(content).hexdigest()})
    return keep_compiled(sha256, lambda: {name: store.read(name) for name in (*files, COMPILED_JSON)})


class _Files(msgspec.Struct):
    files: dict[str, str]


def keep_compiled(
    sha256: str, fetch_files: Callable[[], dict[str, bytes]], cache: Path | None = None
) -> Path:
    """Give the folder of a compiled model, which is fetched and written where it is not there yet.

    Processes that want it at once wait for the one that fetches it. Every file's hash is checked.

    Args:
        sha256: As `hash_compiled` gives it.
        fetch_files: Gives the files by name.
        cache: Where such folders lie; the user's cache if None.

    Raises:
        BadModelError: What was fetched is not what the hash says.
    """
    cache = cache or user_cache_path("assay") / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / sha256
    with FileLock(cache / f"{sha256}.lock"):
        if not _is_kept(folder, sha256):
            with write_folder_in_place_of(folder) as temporary:
                for name, content in fetch_files().items():
                    if not is_inner_path(name):
                        raise BadModelError(f"compiled model: {quote(name)} is no file's name")
                    (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                    (temporary / name).write_bytes(content)
                found = hash_compiled(read_compiled_json(temporary), temporary)
                if found != sha256:
                    raise BadModelError(
                        f"compiled model: expected sha256 {sha256[:12]}…, found {found[:12]}… on arrival"
                    )
    return folder


def _is_kept(folder: Path, sha256: str) -> bool:
    try:
        return hash_compiled(read_compiled_json(folder), folder) == sha256
    except BadModelError:  # not there, or damaged: it is fetched anew
        return False
