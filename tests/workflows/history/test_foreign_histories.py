"""Histories from strangers: their own tables, code in the database, texts that unpack to far more."""

from __future__ import annotations

import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from assay.errors import AssayError, BadInputError
from assay.runs import history_file
from assay.runs.history_file import add_runs, read_history
from assay.runs.results_file import Manifest
from history_runs import make_run, make_speed


@pytest.fixture
def history(manifest: Manifest, tmp_path: Path) -> Path:
    add_runs(tmp_path / "h.sqlite", [make_run(manifest, 1, None, make_speed([1, 2]))])
    return tmp_path / "h.sqlite"


def execute(history: Path, *statements: str) -> None:
    with closing(sqlite3.connect(history)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM speeds, n"


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER TABLE speeds RENAME TO other", f"CREATE VIEW speeds AS {ENDLESS.replace('speeds', 'other')}"],
        ["CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE runs SET is_baseline = 1; END"],
        ["CREATE TABLE x (y)"],
        ["ALTER TABLE runs ADD COLUMN z GENERATED ALWAYS AS (hex(zeroblob(1000000)))"],
    ],
)
def test_a_history_with_code_or_other_tables_is_refused(
    history: Path, manifest: Manifest, statements: list[str]
) -> None:
    execute(history, *statements)
    for use in (read_history, lambda path: add_runs(path, [make_run(manifest, 2)])):
        with pytest.raises(BadInputError, match="holds other tables than a history"):
            use(history)


def test_manifests_that_unpack_to_far_more_than_the_file_are_refused(
    history: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "LEAST_UNPACKED_BYTES", 10_000)
    bomb = msgspec.structs.replace(manifest, remark="a" * 10_000_000)
    with closing(sqlite3.connect(history)) as connection, connection:
        packed = zlib.compress(msgspec.json.encode(bomb))
        connection.execute("UPDATE runs SET manifest = ?", (packed,))
    assert 64 * history.stat().st_size < 10_000_000
    with pytest.raises(BadInputError, match="is damaged"):
        read_history(history)


def test_a_pipe_is_no_history(manifest: Manifest, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for use in (read_history, lambda path: add_runs(path, [make_run(manifest, 1)])):
        with pytest.raises(AssayError):
            use(tmp_path / "pipe")
