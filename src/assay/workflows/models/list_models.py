"""The models that are known by name: found by a word, or one of them as a record to change."""

from __future__ import annotations

from pathlib import Path

from assay.files import refuse_same_file, write_in_place_of
from assay.models.find_models import ModelEntry, find_models
from assay.models.read_record import read_model_record
from assay.models.write_record import write_record_toml


def list_models(word: str = "") -> tuple[ModelEntry, ...]:
    """The models with that word in their name, assay's own first; all of them without a word.

    Args:
        word: Part of a name; case and signs between letters and digits make no difference.
    """
    return find_models(word)


def write_model_record(name: str, path: Path | None) -> str:
    """The record of that name as TOML, which `--model` takes; written to the path where one is given.

    Raises:
        BadModelError: No such record, or none can be made.
        UsageError: The path is the record that is read.
    """
    text = write_record_toml(read_model_record(name))
    if path is not None:
        refuse_same_file(path, Path(name) if name.endswith(".toml") else None)
        with write_in_place_of(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text
