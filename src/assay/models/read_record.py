"""Model records by name or path, read and checked."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from assay.errors import BadModelError, hide_credentials, quote, shorten
from assay.files import decode_toml
from assay.models.published.find import find_published_record
from assay.models.published.refusals import suggest_published
from assay.models.record import ModelRecord

OPEN_KEY = "open"
"""Of a record that `assay inspect` drew: the keys that the user has to add."""


def list_model_names() -> list[str]:
    """Return the names of the records that come with assay, sorted."""
    folder = resources.files("assay.models")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_model_record(name_or_path: str) -> ModelRecord:
    """Return the model record of that name, or the one in that TOML file.

    Args:
        name_or_path: The name of a record that comes with assay; `timm/NAME[.TAG][@SIZE]`,
            `torchvision/NAME[:WEIGHTS]` or `ascend/FOLDER`; or the path of a `.toml` file.

    Raises:
        BadModelError: No such record or file, not TOML, or a key that is missing, unknown or wrong.
    """
    if not name_or_path.endswith(".toml"):
        published = find_published_record(name_or_path)
        return published or _parse_record(_read_own_record(name_or_path), origin=name_or_path)
    try:
        text = Path(name_or_path).read_bytes()
    except OSError as error:
        raise BadModelError(
            f"model record {name_or_path}: cannot be read: {error.strerror}",
            hint=f"expected the path of a TOML file, or one of: {', '.join(list_model_names())}",
        ) from error
    return _parse_record(text, origin=name_or_path)


def _read_own_record(name: str) -> bytes:
    names = list_model_names()
    if name not in names and "/" in name:
        hub_name = name.removeprefix("hf/").removeprefix("hf-hub:")
        raise BadModelError(
            f"no model record is called {quote(name)}; names on the Hugging Face hub are not looked up",
            hint=f"hf download {hub_name} --local-dir DIR, then --weights DIR without --model; or "
            "timm/NAME, torchvision/NAME, ascend/FOLDER",
        )
    if name not in names:
        close = suggest_published(name) or next(iter(difflib.get_close_matches(name, names, n=1)), "")
        meant = f"did you mean {close}? " if close else ""
        raise BadModelError(
            f"no model record is called {quote(name)}",
            hint=f"{meant}known: {', '.join(names)}, timm/NAME, torchvision/NAME, ascend/FOLDER, or a .toml "
            f"file; assay models {shorten(name, 40)} searches them",
        )
    return resources.files("assay.models").joinpath(f"{name}.toml").read_bytes()


def _parse_record(text: bytes, *, origin: str) -> ModelRecord:
    try:
        content = decode_toml(text)
        _check_open(content, origin)
        record = msgspec.convert(content, ModelRecord, str_keys=True)
    except msgspec.DecodeError as error:
        raise BadModelError(
            f"model record {origin}: {shorten(error)}", hint="assay help model-record lists the keys"
        ) from error
    for file in record.weights:
        if hide_credentials(file.url) != file.url:
            raise BadModelError(
                f"model record {origin}: a URL with credentials, which every manifest and bundle would hold: "
                f"{quote(hide_credentials(file.url))}",
                hint="take them out; where they are needed, download the file by hand and give its path",
            )
    return record


def _check_open(content: dict[str, Any], origin: str) -> None:
    """Take the list of open keys away, after checking that each of them is there now.

    Raises:
        BadModelError: One is not.
    """
    names = content.pop(OPEN_KEY, [])
    if not isinstance(names, list):
        raise BadModelError(f"model record {origin}: `{OPEN_KEY}` is a list of keys that are to be added")
    left = [name for name in map(str, names) if not _holds(content, name)]
    if left:
        raise BadModelError(
            f"model record {origin}: still open: {', '.join(shorten(name, 60) for name in left)}",
            hint="write those lines: what they are likely to be stands beside them as comments, or have them "
            "filled by `assay inspect MODEL --like RECORD` or `--set KEY=VALUE`",
        )


def _holds(content: dict[str, Any], name: str) -> bool:
    table, _, key = name.rpartition(".")
    inner = content.get(table, {}) if table else content
    return isinstance(inner, dict) and key in inner
