"""A finished run as one zip file, from which every figure can be computed again."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import msgspec

from assay import __version__
from assay.errors import UsageError
from assay.files import encode_json, refuse_same_file, write_in_place_of
from assay.runs.place import CALIBRATION_FILE, REPORT_FILE
from assay.runs.results_file import FILE_NAMES, Benchmark, Manifest, Metrics
from assay.runs.stored import StoredRun

BUNDLE_FILE = "bundle.json"
_FILES = (*(FILE_NAMES[kind] for kind in (Manifest, Metrics, Benchmark)), REPORT_FILE, CALIBRATION_FILE)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say: one run gives one file, byte for byte


class BundleIndex(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle.json`: the sha256 of every other file in the bundle, by its path."""

    schema_version: int = 1
    assay_version: str = __version__
    files: dict[str, str]


def write_bundle(run: Path, bundle: Path) -> BundleIndex:
    """Write manifest, predictions, metrics, timings and report of a finished run into one zip file.

    Compiled models, weights and images stay out; their hashes are in the manifest. One run gives one file,
    byte for byte.

    Raises:
        UsageError: Not a run with predictions, or one that is not finished; a bundle in the run folder.
        BadInputError: A file of the run cannot be read.
    """
    refuse_same_file(bundle, run)
    if run.resolve() in bundle.parent.resolve().joinpath(bundle.name).parents:
        raise UsageError(
            f"{bundle} lies in the run folder that it is made of", hint="write it beside the run"
        )
    stored = StoredRun.open(run)
    status = stored.manifest.status
    if status != "finished":
        raise UsageError(f"{run}: the run is {status}, not finished", hint="finish it with --resume")
    paths = list_bundled(stored)
    refuse_same_file(bundle, *paths)
    contents = {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}
    index = BundleIndex(
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    )
    with write_in_place_of(bundle) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in {BUNDLE_FILE: encode_json(index), **contents}.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.external_attr = 0o644 << 16
            is_packed = name.endswith(".parquet")
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return index


def list_bundled(run: StoredRun) -> list[Path]:
    """The files of a run that its bundle holds."""
    paths = [path for name in _FILES if (path := run.path / name).is_file()]
    for beside in (run.predictions, run.reference, run.fast):
        paths += beside.paths if beside else ()
    batches = (run.read_batch(batch.batch_size) for batch in run.metrics.batches[1:])
    return [*paths, *(path for batch in batches for path in batch.paths)]
