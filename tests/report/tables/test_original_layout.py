"""The original result's layout; the ratios are those of the published figures, by hand."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from assay.measure.speed.throughput import ThroughputRow
from assay.models.record import ModelRecord
from assay.report.named_run import NamedRun
from assay.report.tables.original_layout import make_layout_accuracy_table, make_layout_throughput_table
from assay.report.tables.table import Table
from assay.runs.results_file import Benchmark, Manifest, Metrics

MakeRow = Callable[..., ThroughputRow]


def make_run(name: str, manifest: Manifest, metrics: Metrics | None, rows: list[ThroughputRow]) -> NamedRun:
    benchmark = Benchmark(rows=rows) if rows else None
    return NamedRun(name=name, manifest=manifest, metrics=metrics, benchmark=benchmark)


def make_table(runs: list[NamedRun], record: ModelRecord) -> Table:
    table = make_layout_throughput_table(runs, record)
    assert table is not None
    assert {len(row) for row in table.rows} == {len(table.header)}
    return table


def read_column(table: Table, name: str) -> dict[str, str]:
    return {row[0]: row[table.header.index(name)] for row in table.rows}


def test_published_chips_have_the_ratios_of_the_original(
    manifest: Manifest, se_resnext50: ModelRecord, make_row: MakeRow
) -> None:
    table = make_table([make_run("", manifest, None, [make_row(3, 40.0), make_row(4, 90.0)])], se_resnext50)
    assert [row[0] for row in table.rows] == ["1", "3", "4", "8", "16", "32", "64", "best"]
    assert table.header[1:5] == ("openvino CPU fp32", "Ascend 310", "Ascend 310P", "NVIDIA T4")
    ratio = read_column(table, "Ascend 310P / Ascend 310")
    assert (ratio["1"], ratio["3"], ratio["best"]) == ("1.28", "", "1.62")  # 1006.47/786.26, 1804.86/1113.52
    assert read_column(table, "Ascend 310P / NVIDIA T4")["best"] == "1.71"  # 1804.86 / 1054.064
    assert read_column(table, "openvino CPU fp32")["best"] == "90.00 (4)"
    assert read_column(table, "Ascend 310")["best"] == "1113.52 (16)"
    accepted = [note for note in table.notes if note.startswith("Acceptance: ")]
    assert "1804.86 / 1113.52 = 1.62; at least 1.2 was asked: accepted, as published" in accepted[0]
    assert "at least 1.6 was asked: accepted" in accepted[1]


def test_a_target_that_is_missed_is_not_accepted(
    manifest: Manifest, se_resnext50: ModelRecord, make_row: MakeRow
) -> None:
    target = msgspec.structs.replace(se_resnext50.speed_target[0], ratio=1.63)
    record = msgspec.structs.replace(se_resnext50, speed_target=(target,))
    notes = make_table([make_run("", manifest, None, [make_row(1, 40.0)])], record).notes
    assert "1.63 was asked: not accepted" in notes[-1]


def test_runs_have_a_ratio_to_the_first_on_the_same_clock_alone(
    manifest: Manifest, se_resnext50: ModelRecord, make_row: MakeRow
) -> None:
    rows = [make_row(1, 60.0, precision="int8"), make_row(1, 99.0, precision="int8", clock="device")]
    runs = [make_run("A", manifest, None, [make_row(1, 40.0)]), make_run("B", manifest, None, rows)]
    table = make_table(runs, msgspec.structs.replace(se_resnext50, speed_target=(), published_throughput=()))
    assert table.header == (
        "Batch",
        "A: openvino CPU fp32",
        "B: openvino CPU int8",
        "B: openvino CPU int8, device clock",
        "B: openvino CPU int8 / A: openvino CPU fp32",
    )
    assert table.rows[0] == ("1", "40.00", "60.00", "99.00", "1.50")


def test_a_run_without_a_benchmark_has_no_table(manifest: Manifest, se_resnext50: ModelRecord) -> None:
    assert make_layout_throughput_table([make_run("", manifest, None, [])], se_resnext50) is None


def test_the_accuracy_has_a_row_for_every_chip_and_batch(
    manifest: Manifest, metrics: Metrics, se_resnext50: ModelRecord
) -> None:
    manifest = msgspec.structs.replace(manifest, evaluated_batch_size=16)
    rows = make_layout_accuracy_table([make_run("", manifest, metrics, [])], se_resnext50).rows
    assert rows[0] == ("openvino on CPU, fp32", "16", "50.00", "75.00", "measured")
    readme = "Ascend ModelZoo-PyTorch, SE-ResNeXt50_32x4d README"
    assert rows[3:] == (
        ("Ascend 310", "1", "79.05", "94.44", readme),
        ("Ascend 310", "best batch", "79.06", "94.44", readme),
        ("Ascend 310P", "", "79.06", "94.44", readme),
    )


def test_a_target_on_a_device_that_nobody_published_is_refused(se_resnext50: ModelRecord) -> None:
    document = msgspec.to_builtins(se_resnext50)
    document["speed_target"][0]["over"] = "Abacus"
    with pytest.raises(msgspec.ValidationError, match="'Abacus', which has no published_throughput"):
        msgspec.convert(document, ModelRecord)
