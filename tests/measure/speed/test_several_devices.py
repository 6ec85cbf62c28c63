"""Several devices at once: the sum over the time until the last one was done, beside each alone."""

from __future__ import annotations

import msgspec
import pytest

from assay.engines.compiled_model import CompiledModel
from assay.measure.speed.machine_use import Reading
from assay.measure.speed.repeats import BatchTimes, Repeat
from assay.measure.speed.several_devices import make_devices_row
from assay.models.record import ModelRecord
from assay.report.tables.benchmark import make_benchmark_tables
from assay.runs.results_file import Benchmark
from assay.workflows.results.verify_speed import list_inconsistent_rows


def make_times(begin_s: float, duration_s: float, call_count: int, own_s: float = 0.5) -> BatchTimes:
    """Five like repeats, ten seconds from one to the next."""
    repeats = [
        Repeat(
            images_per_second=8 * call_count / duration_s,
            call_ms=(1000 * duration_s / call_count,) * call_count,
            readings=(
                Reading(wall_s=at, busy_s=at, own_s=0.0),
                Reading(wall_s=at + duration_s, busy_s=at + duration_s, own_s=own_s),
            ),
        )
        for at in (begin_s + 10 * number for number in range(5))
    ]
    return BatchTimes(caller_count=1, warm_up_ms=(1.0,), warm_up_s=1.0, repeats=tuple(repeats))


@pytest.fixture
def compiled(se_resnext50: ModelRecord) -> CompiledModel:
    return CompiledModel(
        engine="constant",
        engine_version="1",
        device="none",
        precision="fp32",
        batch_size=None,
        source_files={},
        files={},
        model=se_resnext50,
    )


def test_the_total_is_of_all_images_until_the_last_device_is_done(compiled: CompiledModel) -> None:
    alone = {"none:0": make_times(0.0, 1.0, 100), "none:1": make_times(0.0, 1.0, 50)}
    at_once = {"none:0": make_times(0.0, 1.0, 90), "none:1": make_times(0.5, 1.5, 60)}
    row = make_devices_row(compiled, alone, at_once, 8)
    assert row.total.values == pytest.approx([8 * 150 / 2.0] * 5)
    assert row.percent_of_sum == pytest.approx(100 * 600 / 1200)
    assert row.at_once["none:1"].median == pytest.approx(8 * 60 / 1.5)


def test_what_the_other_devices_processes_use_is_no_other_use_of_the_machine(compiled: CompiledModel) -> None:
    at_once = {f"none:{number}": make_times(0.0, 1.0, 90, own_s=0.25) for number in range(4)}
    row = make_devices_row(compiled, at_once, at_once, 8)
    assert row.validity.machine.others_percent == pytest.approx(0.0)
    assert row.validity.is_valid


def test_the_table_has_each_device_alone_at_once_and_the_sum_and_a_changed_total_is_found(
    compiled: CompiledModel,
) -> None:
    times = {"none:0": make_times(0.0, 1.0, 100), "none:1": make_times(0.0, 1.0, 100)}
    row = make_devices_row(compiled, times, times, 8)
    benchmark = Benchmark(rows=[], devices=[row])
    (table,) = make_benchmark_tables(benchmark)
    assert [cells[:4] for cells in table.rows] == [
        ("8", "none:0", "800.00", "800.00"),
        ("8", "none:1", "800.00", "800.00"),
        ("8", "all", "1600.00", "1600.00 !" if not row.validity.is_valid else "1600.00"),
    ]
    assert list_inconsistent_rows(benchmark) == []
    better = msgspec.structs.replace(row, image_counts={**row.image_counts, "none:0": (1600,) * 5})
    assert list_inconsistent_rows(msgspec.structs.replace(benchmark, devices=[better])) != []
