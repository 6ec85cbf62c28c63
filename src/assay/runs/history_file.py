"""The history: an SQLite file of runs over time, with what is needed to compare them once they are gone."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from assay.errors import BadInputError, UsageError, shorten
from assay.files import decode_json
from assay.runs.results_file import Manifest

APPLICATION_ID = 0x41535359  # "ASSY", so that another program's SQLite file is not taken for a history
VERSION = 1
MAX_VALUE_BYTES = 1 << 26  # of one cell; a bit for each image, and a manifest, are far below it
MAX_UNPACKED = 64  # times the size of the file that its manifests unpack to; text packs to a tenth
LEAST_UNPACKED_BYTES = 1 << 26
BUSY_S = 60.0  # how long to wait for another process that adds a run
_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, added TEXT NOT NULL, started TEXT NOT NULL,
    folder TEXT NOT NULL, note TEXT NOT NULL, is_baseline INTEGER NOT NULL, manifest BLOB NOT NULL);
CREATE TABLE accuracies (
    run INTEGER NOT NULL REFERENCES runs (number), model TEXT NOT NULL, engine TEXT NOT NULL,
    device TEXT NOT NULL, precision TEXT NOT NULL, machine TEXT NOT NULL, images TEXT NOT NULL,
    preprocessing TEXT NOT NULL, image_count INTEGER NOT NULL, failed_count INTEGER NOT NULL,
    top1_hits INTEGER NOT NULL, is_right BLOB NOT NULL, notes TEXT NOT NULL);
CREATE TABLE speeds (
    run INTEGER NOT NULL REFERENCES runs (number), model TEXT NOT NULL, engine TEXT NOT NULL,
    device TEXT NOT NULL, precision TEXT NOT NULL, machine TEXT NOT NULL, batch_size INTEGER NOT NULL,
    clock TEXT NOT NULL, caller_count INTEGER NOT NULL, setting TEXT NOT NULL,
    images_per_second TEXT NOT NULL, invalid TEXT NOT NULL);
"""


class ResultSeries(msgspec.Struct, frozen=True, kw_only=True):
    """What results over time are kept apart by."""

    model: str
    engine: str
    device: str
    precision: str
    machine: str

    def __str__(self) -> str:
        return f"{self.model}, {self.engine} on {self.device}, {self.precision} ({self.machine})"


class StoredAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Top-1 of a run, image by image.

    `images` is a sha256 of the images, their labels and the classes in their order, `preprocessing` of that
    and what computes it. `is_right` holds a bit for each image in that order, most significant first, as
    `numpy.packbits` makes it. `notes` says what must be known of the figure.
    """

    series: ResultSeries
    images: str
    preprocessing: str
    image_count: int
    failed_count: int
    top1_hits: int
    is_right: bytes
    notes: tuple[str, ...] = ()


class StoredSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """A speed of a run: images per second of every repeat, and why they are INVALID, if they are.

    `setting` is what else a speed depends on: fresh processes, several devices on a card.
    """

    series: ResultSeries
    batch_size: int
    clock: str
    caller_count: int
    setting: str
    images_per_second: tuple[float, ...]
    invalid: tuple[str, ...] = ()


class HistoryRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a history; `number` is 0 for one that is not in it yet. `sha256` is of its results."""

    number: int = 0
    sha256: str
    added: str
    started: str
    folder: str
    note: str = ""
    is_baseline: bool = False
    manifest: Manifest
    accuracy: StoredAccuracy | None = None
    speeds: tuple[StoredSpeed, ...] = ()


Row = TypeVar("Row", StoredAccuracy, StoredSpeed)


def read_history(path: Path) -> list[HistoryRun]:
    """The runs of a history, by the time they were started.

    Raises:
        UsageError: There is no such file.
        BadInputError: It is no history, or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such history", hint="assay history add RUN makes one")
    with _open(path, writes=False) as connection:
        return _read(path, connection)


def add_runs(path: Path, runs: Sequence[HistoryRun]) -> list[HistoryRun]:
    """Add runs to a history, all or none, and return what it then holds.

    One with the same results as one that is there is not added again; it becomes a baseline if it is to be
    one, and takes the note if there is one.

    Raises:
        UsageError: The file cannot be written, or another process keeps it.
        BadInputError: It is no history, or damaged.
    """
    with _open(path, writes=True) as connection:
        for run in runs:
            _insert(connection, run)
        return _read(path, connection)


@contextmanager
def _open(path: Path, *, writes: bool) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction, which is kept where the block ends well."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            _check(path, connection, writes=writes)
            yield connection
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise UsageError(
            f"{path}: {shorten(error)}", hint="check the path, its permissions and the free space"
        ) from error
    except sqlite3.Error as error:
        raise BadInputError(
            f"{path} cannot be read as a history: {shorten(error)}",
            hint="expected a file of `assay history add`",
        ) from error


def _check(path: Path, connection: sqlite3.Connection, *, writes: bool) -> None:
    """Refuse a file that is no history; make one of an empty file that is to be written."""
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if writes and found == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    elif found != APPLICATION_ID:
        raise BadInputError(f"{path} is an SQLite file, but not a history", hint="give another --file")
    elif version != VERSION:
        raise BadInputError(
            f"{path} is a history of version {version}; this assay reads {VERSION}",
            hint="read it with the version of assay that wrote it, or start a new one with another --file",
        )
    expected = {_squeeze(text) for text in _SCHEMA.split(";") if "CREATE" in text}
    found_parts = {_squeeze(row["sql"] or "") for row in connection.execute("SELECT sql FROM sqlite_master")}
    if not found_parts <= {*expected, ""}:  # a view or a trigger is code, and can run for ever
        raise BadInputError(f"{path} holds other tables than a history", hint="give another --file")


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _insert(connection: sqlite3.Connection, run: HistoryRun) -> None:
    found = connection.execute("SELECT number FROM runs WHERE sha256 = ?", (run.sha256,)).fetchone()
    if found is not None:
        connection.execute(
            "UPDATE runs SET is_baseline = max(is_baseline, ?), note = iif(? = '', note, ?) WHERE number = ?",
            (run.is_baseline, run.note, run.note, found["number"]),
        )
        return
    manifest = zlib.compress(msgspec.json.encode(run.manifest))
    number = connection.execute(
        "INSERT INTO runs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
        (run.sha256, run.added, run.started, run.folder, run.note, run.is_baseline, manifest),
    ).lastrowid
    for table, rows in (("accuracies", [run.accuracy] if run.accuracy else []), ("speeds", run.speeds)):
        for row in rows:
            values = {"run": number, **_flatten(row)}
            marks = ", ".join("?" * len(values))
            connection.execute(
                f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",
                tuple(values.values()),
            )


def _flatten(row: StoredAccuracy | StoredSpeed) -> dict[str, Any]:
    """The columns of a row: those of its series, and tuples as JSON."""
    own = {name: getattr(row, name) for name in row.__struct_fields__ if name != "series"}
    encoded = {
        name: msgspec.json.encode(value).decode() if isinstance(value, tuple) else value
        for name, value in own.items()
    }
    return msgspec.structs.asdict(row.series) | encoded


def _read(path: Path, connection: sqlite3.Connection) -> list[HistoryRun]:
    try:
        speeds: dict[int, list[StoredSpeed]] = {}
        for row in connection.execute("SELECT * FROM speeds ORDER BY rowid"):
            speeds.setdefault(row["run"], []).append(_unflatten(row, StoredSpeed))
        accuracies = {
            row["run"]: _check_bits(_unflatten(row, StoredAccuracy))
            for row in connection.execute("SELECT * FROM accuracies")
        }
        rows = connection.execute("SELECT * FROM runs ORDER BY started, number")
        return [
            _make_run(row, manifest, accuracies.get(row["number"]), tuple(speeds.get(row["number"], ())))
            for row, manifest in _unpack_manifests(rows, path.stat().st_size)
        ]
    except (msgspec.MsgspecError, IndexError, ValueError, TypeError, zlib.error) as error:
        raise BadInputError(
            f"{path} is damaged: {shorten(error)}", hint="expected a file of `assay history add`"
        ) from error


def _unpack_manifests(rows: Iterable[sqlite3.Row], file_bytes: int) -> Iterator[tuple[sqlite3.Row, bytes]]:
    """Each row with its manifest, cut where all of them are far more than the file holds."""
    left = max(MAX_UNPACKED * file_bytes, LEAST_UNPACKED_BYTES)
    for row in rows:
        manifest = zlib.decompressobj().decompress(row["manifest"], min(left, MAX_VALUE_BYTES))
        left = max(left - len(manifest), 1)  # 0 would be no limit
        yield row, manifest


def _unflatten(row: sqlite3.Row, kind: type[Row]) -> Row:
    names = [name for name in kind.__struct_fields__ if name != "series"]
    json_names = {"notes", "images_per_second", "invalid"}
    values = {name: msgspec.json.decode(row[name]) if name in json_names else row[name] for name in names}
    series = {name: row[name] for name in ResultSeries.__struct_fields__}
    return msgspec.convert(values | {"series": series}, kind)


def _check_bits(accuracy: StoredAccuracy) -> StoredAccuracy:
    """Refuse hits that are not those of the images."""
    hits = sum(byte.bit_count() for byte in accuracy.is_right)
    if len(accuracy.is_right) != -(-accuracy.image_count // 8) or hits != accuracy.top1_hits:
        raise ValueError(f"{accuracy.top1_hits} hits of {accuracy.image_count} images, the bits say {hits}")
    return accuracy


def _make_run(
    row: sqlite3.Row, manifest: bytes, accuracy: StoredAccuracy | None, speeds: tuple[StoredSpeed, ...]
) -> HistoryRun:
    texts = {name: f"{row[name]}" for name in ("sha256", "added", "started", "folder", "note")}
    return HistoryRun(
        number=int(row["number"]),
        is_baseline=bool(row["is_baseline"]),
        manifest=decode_json(manifest, kind=Manifest),
        accuracy=accuracy,
        speeds=speeds,
        **texts,
    )
