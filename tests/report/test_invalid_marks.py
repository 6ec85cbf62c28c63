"""Wherever a figure of speed stands that is INVALID, its mark stands with it."""

from __future__ import annotations

import msgspec
import pytest

from assay.measure.speed.comparison import compare_speeds
from assay.measure.speed.imported_results import ImportedRow
from assay.measure.speed.loadgen_logs import LoadgenRow
from assay.measure.speed.recommendation import recommend_batch_sizes
from assay.models.record import ModelRecord
from assay.report.contents import gather_contents
from assay.report.html import render_page
from assay.report.markdown import render_markdown
from assay.report.named_run import NamedRun
from assay.report.tables.benchmark import make_benchmark_tables
from assay.report.tables.comparison import make_speed_table
from assay.report.tables.original_layout import make_layout_throughput_table
from assay.report.tables.throughput import make_best_batch_table, make_throughput_tables
from assay.runs.results_file import Benchmark, Manifest
from speed_rows import REASON, make_speed_row

VALID = make_speed_row(40, 40, 40, batch_size=1)
INVALID = make_speed_row(90, 90, 90, batch_size=4, is_valid=False)
MIXED = Benchmark(rows=[VALID, INVALID])
NONE_VALID = Benchmark(rows=[make_speed_row(40, 40, 40, is_valid=False), INVALID])


def make_run(manifest: Manifest, benchmark: Benchmark, name: str = "") -> NamedRun:
    return NamedRun(name=name, manifest=manifest, metrics=None, benchmark=benchmark)


def test_the_best_throughput_is_the_best_valid_one(manifest: Manifest) -> None:
    card = gather_contents([make_run(manifest, MIXED)]).cards[0]
    assert (card.value, card.details[0]) == ("40.00 images/s", "batch 1, fp32, call clock")


def test_where_no_row_is_valid_the_best_is_shown_with_its_mark_and_the_reason(manifest: Manifest) -> None:
    card = gather_contents([make_run(manifest, NONE_VALID)]).cards[0]
    assert card.value == "90.00 ! images/s"
    assert card.details[0] == f"INVALID, as all rows are: {REASON}"


def test_the_star_of_the_best_batch_goes_to_a_valid_row(se_resnext50: ModelRecord) -> None:
    table = make_throughput_tables(MIXED.rows, se_resnext50)[0]
    assert [row[1] for row in table.rows] == ["40.00 *", "90.00 !"]
    table = make_throughput_tables(NONE_VALID.rows, se_resnext50)[0]
    assert [row[1] for row in table.rows] == ["40.00 !", "90.00 ! *"]
    assert "* marks the best batch; none is VALID." in table.notes[0]


@pytest.mark.parametrize(("benchmark", "shown"), [(MIXED, "40.00"), (NONE_VALID, "90.00 !")])
def test_the_best_batch_table_marks_it(se_resnext50: ModelRecord, benchmark: Benchmark, shown: str) -> None:
    table = make_best_batch_table(benchmark.rows, se_resnext50)
    assert table.rows[0][3] == shown
    assert any("INVALID" in note for note in table.notes) == ("!" in shown)


def test_throughput_by_engine_marks_figures_and_ratios(manifest: Manifest, se_resnext50: ModelRecord) -> None:
    other = Benchmark(rows=[make_speed_row(20, 20, 20), make_speed_row(45, 45, 45, batch_size=4)])
    runs = [make_run(manifest, other, "A"), make_run(manifest, MIXED, "B")]
    table = make_layout_throughput_table(runs, se_resnext50)
    assert table is not None
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    b, ratio = "B: openvino CPU fp32", "B: openvino CPU fp32 / A: openvino CPU fp32"
    assert (rows["1"][b], rows["1"][ratio]) == ("40.00", "2.00")
    assert (rows["4"][b], rows["4"][ratio]) == ("90.00 !", "2.00 !")
    assert rows["best"][b] == "40.00 (1)"
    assert any("INVALID" in note for note in table.notes)


def test_compare_marks_both_speeds_and_gives_no_verdict() -> None:
    table = make_speed_table([compare_speeds(INVALID, make_speed_row(180, 181, 182, 183, 184, batch_size=4))])
    assert table is not None
    assert table.rows[0][2:5] == ("90.00 !", "182.00", "2.02 !")
    assert table.rows[0][-1] == "cannot tell"
    assert f"Batch 4, call clock: A is INVALID: {REASON}." in table.notes


def test_a_recommendation_is_valid_where_one_is_and_marked_where_none_is() -> None:
    assert recommend_batch_sizes(MIXED.rows, 5.0)[0].batch_size == 1
    found = recommend_batch_sizes(NONE_VALID.rows, 5.0)
    assert (found[0].batch_size, found[0].is_valid) == (4, False)
    table = next(make_benchmark_tables(Benchmark(rows=[], recommended=found)))
    assert table.rows[0][4] == "90.00 !"
    assert any("INVALID" in note for note in table.notes)


def test_charts_say_it_on_hover_and_markdown_in_its_tables(manifest: Manifest) -> None:
    page = render_page(gather_contents([make_run(manifest, MIXED)]))
    for line in ("openvino fp32, call clock, batch 4: 90", "p99, openvino fp32, call clock, batch 4: 1"):
        assert f"<title>{line} INVALID</title>" in page
    assert "<title>openvino fp32, call clock, batch 1: 40</title>" in page
    text = render_markdown(gather_contents([make_run(manifest, MIXED)]))
    assert text.count("90.00 !") == 2  # its own table, and throughput by engine
    assert text.count("90.00") == text.count("90.00 !") + 2  # the range of its repeats


def test_results_of_other_tools_carry_their_verdict_or_say_that_there_is_none() -> None:
    loadgen = LoadgenRow(
        scenario="Offline",
        is_valid=False,
        reasons=("too short",),
        metric="samples/s",
        value=90.0,
        query_count=1,
        seconds=1,
        loaded_samples=1,
        percentiles_ms={},
        falls_short_of=(),
        log_folder="loadgen",
    )
    imported = ImportedRow(
        tool="trtexec",
        source_file="times.json",
        sha256="ab" * 32,
        batch_size=1,
        clock="device",
        images_per_second=90.0,
        call_count=10,
        latency_ms={},
        how="as stated",
    )
    tables = list(make_benchmark_tables(Benchmark(rows=[], loadgen=[loadgen], imported=[imported])))
    assert tables[0].rows[0][3] == "90.00 !"
    assert "not judged VALID or INVALID" in tables[1].notes[0]
    valid = msgspec.structs.replace(loadgen, is_valid=True)
    assert next(make_benchmark_tables(Benchmark(rows=[], loadgen=[valid]))).rows[0][3] == "90.00"
