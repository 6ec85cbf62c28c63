"""Weights from the record's servers into the cache."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from assay.checkpoint.download import HASH_DIGITS, download_weights, name_hash_file
from assay.models.read_record import read_model_record
from assay.runs.listener import Listener, Progress


def fetch_weights(model: str, cache: Path | None, listener: Listener) -> Path:
    """Return the path of the model's weights, downloaded and with the right hash.

    Args:
        model: Name of a model record, or the path of one.
        cache: The folder they are kept in; None means `assay` in the user's cache folder.
        listener: Hears how far the download is.

    Raises:
        AssayError: As `download_weights`.
    """
    record = read_model_record(model)
    folder = cache or Path(platformdirs.user_cache_dir("assay")) / "weights"

    def report(done: int, total: int | None) -> None:
        listener.advance(Progress(task="Downloading", unit="bytes", done=done, total=total or 0))

    path = download_weights(record, folder, on_progress=report)
    for file in record.weights:
        if file.file_name == path.name and len(file.sha256_prefix) < HASH_DIGITS:
            listener.announce(
                f"Note: of the sha256 of {path.name} only {len(file.sha256_prefix)} of {HASH_DIGITS} digits "
                f"are published; the whole one is in {name_hash_file(path)}: later downloads must have it"
            )
    return path
