"""Fetches a model's weights file into a cache folder; no other code of assay downloads anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from filelock import FileLock

from assay import __version__
from assay.errors import BadCheckpointError, BadModelError, quote, shorten
from assay.files import hash_file, write_file
from assay.models.published.find import advise_download
from assay.models.record import ModelRecord, WeightsFile

TIMEOUT_S = 30.0  # for a connection, and for each block of bytes
BLOCK_BYTES = 1 << 20
TRIES_PER_URL = 5  # a dropped connection goes on from where it broke off
# Those of urllib without file:, ftp: and data:, which a redirect could lead to.
HANDLERS = (
    request.ProxyHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPRedirectHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPErrorProcessor,
    request.UnknownHandler,
)
MAX_BYTES = 2**36  # of a file whose size is not published
HASH_DIGITS = 64
DECIMAL = re.compile(r"[0-9]{1,18}")  # longer ones are no lengths, and Python refuses to read them
BARE_NAME = re.compile(r"\w[\w .+-]*")
CACHE_HINT = "free some space, or choose another folder for the cache"

OnProgress = Callable[[int, int | None], None]
"""Is told the bytes that are there and the bytes of the whole file, None where the server does not say."""


class _UrlFailedError(Exception):
    """One URL did not give the file; the message says why, the next URL is tried."""


class _DroppedError(_UrlFailedError):
    """The connection broke off; what came is kept and the same URL may go on."""


def download_weights(
    record: ModelRecord,
    cache_dir: Path,
    *,
    on_progress: OnProgress = lambda _received, _total: None,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """The path of the record's weights in the cache, downloaded unless they are there already.

    The record's URLs are tried in its order. A file gets its name in the cache only when its sha256,
    and its size where the record gives one, are right; until then it is a `.part` file, which an
    interrupted download leaves behind and the next one goes on from. Two processes do not fetch the
    same file at once: the second waits. A damaged file in the cache is replaced.

    The whole sha256 of a file is kept beside it when it first comes, and every later one must have it too:
    the few digits that are mostly published can be forged in minutes. Over http, where anyone on the way
    could do so, only a file is fetched whose whole sha256 is known.

    Args:
        record: The model whose weights are wanted.
        cache_dir: The folder that keeps downloads; made where it is missing.
        on_progress: Called after every block.
        timeout_s: How long a server may stay silent, in seconds.

    Raises:
        BadModelError: The record lists no weights, or a file name that is a path.
        BadCheckpointError: No URL gave the right file, or the cache cannot be written.
    """
    _check_weights(record)
    for file in record.weights:
        with _blaming_cache(cache_dir):
            if _is_right(cache_dir / file.file_name, file):
                _keep_hash(cache_dir / file.file_name)
                return cache_dir / file.file_name
    failures: list[str] = []
    for file in sorted(record.weights, key=lambda file: file.url.lower().startswith("http:")):
        try:
            return _fetch_file(file, cache_dir, on_progress, timeout_s)
        except _UrlFailedError as error:
            failures.append(f"{file.url}: {error}")
    raise BadCheckpointError(
        f"the weights of {record.name} could not be downloaded:\n    " + "\n    ".join(failures),
        hint="run it again to go on from what was fetched, or download the file by hand and give its path",
    )


def _check_weights(record: ModelRecord) -> None:
    if not record.weights:
        raise BadModelError(
            f"model record {record.name} lists no weights to download", hint=advise_download(record.name)
        )
    for file in record.weights:
        if not BARE_NAME.fullmatch(file.file_name):  # could be written outside the cache
            raise BadModelError(
                f"model record {record.name}: expected a bare file_name, found {quote(file.file_name)}",
                hint="file_name holds no folders",
            )


@contextmanager
def _blaming_cache(cache_dir: Path) -> Iterator[None]:
    """Turn the disk's errors into BadCheckpointError; those of the network are caught before."""
    try:
        yield
    except OSError as error:
        raise BadCheckpointError(
            f"the cache folder {cache_dir} cannot be used: {error.strerror or error}", hint=CACHE_HINT
        ) from error


def _is_right(path: Path, file: WeightsFile) -> bool:
    """Tell whether the file at `path` is there with the size and the hash it should have."""
    if not path.is_file() or file.size_bytes not in (None, path.stat().st_size):
        return False
    kept = _read_kept_hash(path.with_name(file.file_name))
    found = hash_file(path)
    return found.startswith(file.sha256_prefix) and kept in ("", found)


def name_hash_file(path: Path) -> Path:
    """The file beside downloaded weights that keeps their whole sha256."""
    return path.with_name(f"{path.name}.sha256")


def _read_kept_hash(path: Path) -> str:
    kept = name_hash_file(path)
    return kept.read_text("ascii", "replace").split(" ")[0].strip() if kept.is_file() else ""


def _keep_hash(path: Path) -> None:
    """Keep the whole sha256 of weights that were found right, as sha256sum writes and checks it."""
    if not name_hash_file(path).is_file():
        write_file(name_hash_file(path), f"{hash_file(path)}  {path.name}\n".encode())


def _fetch_file(file: WeightsFile, cache_dir: Path, on_progress: OnProgress, timeout_s: float) -> Path:
    if not file.url.lower().startswith(("http://", "https://")):
        raise _UrlFailedError("expected an http or https URL")
    target = cache_dir / file.file_name
    _refuse_open_way(file.url, file, target)
    with _blaming_cache(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / f"{file.file_name}.lock"):
            if not _is_right(target, file):  # another process may have fetched it while this one waited
                part = cache_dir / f"{file.file_name}.part"
                _complete_part(file, part, on_progress, timeout_s)
                part.replace(target)
            _keep_hash(target)
    return target


def _refuse_open_way(url: str, file: WeightsFile, target: Path) -> None:
    """Refuse http, where others on the way can change what comes; but for this machine itself."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _UrlFailedError(str(error)) from error
    known = _read_kept_hash(target) or file.sha256_prefix
    is_open = parts.scheme.lower() == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}
    if is_open and len(known) < HASH_DIGITS:
        raise _UrlFailedError(
            f"not fetched over http: of its sha256 only {len(known)} digits are known, and anyone on the way "
            "could send a file that has them"
        )


def _complete_part(file: WeightsFile, part: Path, on_progress: OnProgress, timeout_s: float) -> None:
    """Make `part` the whole and right file, beginning with what it holds already."""
    reason = ""
    for _ in range(TRIES_PER_URL):
        if _is_right(part, file):
            return
        size_before = _size(part)
        try:
            _receive(file, part, on_progress, timeout_s)
        except _DroppedError as error:
            reason = str(error)
            if _size(part) == size_before:
                break
            continue
        if _is_right(part, file):
            return
        reason = _describe_difference(file, part)
        part.unlink()
        if not size_before:
            break
        # The beginning came from another time, and the file may have changed since: once more, from nothing.
    raise _UrlFailedError(reason)


def _describe_difference(file: WeightsFile, part: Path) -> str:
    found = hash_file(part)
    kept = _read_kept_hash(part.with_name(file.file_name))
    if kept and found.startswith(file.sha256_prefix):
        return (
            f"expected sha256 {kept}, as it was when it was first fetched, found {found}: another file that "
            f"begins alike; {file.file_name}.sha256 keeps the first one's"
        )
    return f"expected sha256 {file.sha256_prefix}..., found {found} of {_size(part):,} bytes"


def _receive(file: WeightsFile, part: Path, on_progress: OnProgress, timeout_s: float) -> None:
    """Append to `part` what it lacks, or write it anew where the server sends the file from its start."""
    offset = _size(part)
    with _open_url(file.url, offset, timeout_s) as response:
        if response is None or _first_byte(response) not in (0, offset):
            part.unlink(missing_ok=True)  # the server cannot go on from there
            raise _DroppedError(f"cannot be resumed at byte {offset:,}")
        _refuse_open_way(response.geturl(), file, part.with_name(file.file_name))  # where a redirect led
        received = _first_byte(response)
        length = response.headers.get("Content-Length", "")
        total = received + int(length) if DECIMAL.fullmatch(length) else None
        if total is not None and file.size_bytes not in (None, total):
            raise _UrlFailedError(f"expected {file.size_bytes:,} bytes, the server has {total:,}")
        with part.open("ab" if received else "wb") as out:
            for block in _read_blocks(response):
                received += out.write(block)
                on_progress(received, total)
                if received > (file.size_bytes or MAX_BYTES):
                    break
        if received > (file.size_bytes or MAX_BYTES):
            part.unlink()
            raise _UrlFailedError(f"the server sends more than {file.size_bytes or MAX_BYTES:,} bytes")
        if total is not None and received < total:
            raise _DroppedError(f"the connection broke off after {received:,} of {total:,} bytes")


@contextmanager
def _open_url(url: str, offset: int, timeout_s: float) -> Iterator[HTTPResponse | None]:
    """Give the server's answer to a request from byte `offset` on; None where it says there is none."""
    headers = {"User-Agent": f"assay/{__version__}"} | ({"Range": f"bytes={offset}-"} if offset else {})
    opener = request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    try:
        response = cast("HTTPResponse", opener.open(request.Request(url, headers=headers), timeout=timeout_s))
    except HTTPError as error:
        error.close()
        if not (error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset):
            raise _UrlFailedError(f"HTTP {error.code} {shorten(error.reason)}") from error
        response = None
    except (OSError, HTTPException, ValueError) as error:
        raise _DroppedError(shorten(getattr(error, "reason", error)) or type(error).__name__) from error
    if response is None:
        yield None
        return
    with response:
        yield response


def _first_byte(response: HTTPResponse) -> int:
    """Where in the file the answer begins: 0 where the server ignored the range."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _read_blocks(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            block = response.read1(BLOCK_BYTES)  # not read(): what came before a failure is kept
        except (OSError, HTTPException, ValueError) as error:
            raise _DroppedError(shorten(error) or type(error).__name__) from error
        if not block:
            return
        yield block


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
