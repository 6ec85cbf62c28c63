from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from assay.measure.accuracy.accuracy import SubsetAccuracy, describe_topk
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.paired import measure_paired_accuracy
from assay.measure.speed.throughput import ThroughputRow
from assay.models.record import ModelRecord, PublishedAccuracy
from assay.report.sentences import describe_agreement, describe_paired
from assay.report.tables.accuracy import make_accuracy_table, make_failure_table
from assay.report.tables.machine import make_hash_table, make_machine_table
from assay.report.tables.original_layout import make_layout_accuracy_table
from assay.report.tables.table import Table
from assay.report.tables.throughput import make_best_batch_table, make_throughput_tables
from assay.runs.results_file import Benchmark, Manifest, Metrics

MakeRow = Callable[..., ThroughputRow]


def make_one_throughput_table(rows: list[ThroughputRow], record: ModelRecord) -> Table:
    (table,) = make_throughput_tables(rows, record)
    return table


def make_all_tables(
    manifest: Manifest, metrics: Metrics, benchmark: Benchmark, record: ModelRecord
) -> list[Table]:
    return [
        make_accuracy_table(metrics, record),
        make_failure_table(metrics.accuracy),
        make_one_throughput_table(benchmark.rows, record),
        make_best_batch_table(benchmark.rows, record),
        make_machine_table(manifest),
        make_hash_table(manifest),
    ]


def test_every_row_has_as_many_cells_as_the_header(
    manifest: Manifest, metrics: Metrics, benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    for table in make_all_tables(manifest, metrics, benchmark, se_resnext50):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_an_accuracy_shows_counts_then_percentage_then_interval(metrics: Metrics) -> None:
    # Wilson for 2 of 4 by hand: 0.5 -+ 0.3500
    line = describe_topk("Top-1", metrics.accuracy.top1, metrics.accuracy)
    assert re.fullmatch(r"Top-1 +2 of 4 +50\.00 % +\(95 %: 15\.00 to 85\.00\);.* 66\.67 %", line)


def test_an_accuracy_without_failures_has_one_percentage(metrics: Metrics) -> None:
    top1 = msgspec.structs.replace(metrics.accuracy.top1, percent_of_scored=None)
    line = describe_topk("Top-1", top1, metrics.accuracy)
    assert line == "Top-1  2 of 4  50.00 %  (95 %: 15.00 to 85.00)"


@pytest.mark.parametrize(
    ("same", "line"),
    [
        (1234, "Same Top-1 as torch on every image: 1,234 of 1,234"),
        (1200, "Same Top-1 as torch on all but 34: 1,200 of 1,234"),
    ],
)
def test_an_agreement_is_counted(same: int, line: str) -> None:
    agreement = Agreement(
        reference="torch",
        image_count=1234,
        same_top1_count=same,
        max_logit_difference=0,
        differing_images=(),
        paired=measure_paired_accuracy(both=1200, lost=5, won=3, neither=26),
    )
    assert describe_agreement(agreement) == line
    lost_and_won, difference = describe_paired(agreement)
    assert lost_and_won.endswith("on the same images: 5 lost, 3 won, exact McNemar p = 0.73")
    assert difference.startswith("Top-1 difference -0.16 points (95 %: ")


def test_published_accuracies_are_shown_as_published_with_their_source(
    metrics: Metrics, se_resnext50: ModelRecord
) -> None:
    table = make_accuracy_table(metrics, se_resnext50)
    assert table.rows[:2] == (
        ("measured here", "Top-1", "2 of 4", "50.00", "15.00 to 85.00"),
        ("measured here", "Top-5", "3 of 4", "75.00", table.rows[1][4]),
    )
    published = table.rows[2:]
    assert len(published) == 2 * len(se_resnext50.published_accuracy)
    cadene = "published: Cadene/pretrained-models.pytorch, README (PyTorch)"
    assert published[0] == (cadene, "Top-1", "of 50,000", "79.076", "")
    assert published[1] == (cadene, "Top-5", "of 50,000", "94.434", "")
    assert all(row[0].startswith("published: ") for row in published)


def test_a_published_figure_without_top5_or_that_cannot_be_right_is_shown_so(
    metrics: Metrics, se_resnext50: ModelRecord
) -> None:
    doubtful = PublishedAccuracy(source="a README", top1_percent=82.53, doubt="differs by batch size")
    record = msgspec.structs.replace(se_resnext50, published_accuracy=(doubtful,))
    table = make_accuracy_table(metrics, record)
    assert table.rows[2:] == (("published: a README", "Top-1", "of 50,000", "82.53", ""),)
    assert "Doubtful as published, a README: differs by batch size." in table.notes
    layout = make_layout_accuracy_table([], record)
    assert layout.rows == (("as published", "", "82.53", "not published", "a README"),)
    assert "Doubtful as published, a README: differs by batch size." in layout.notes


def test_the_accuracy_table_says_which_figures_cannot_be_compared(
    metrics: Metrics, se_resnext50: ModelRecord
) -> None:
    notes = " ".join(make_accuracy_table(metrics, se_resnext50).notes)
    assert "Failed images count as wrong" in notes
    assert "over other images" in notes
    whole = msgspec.structs.replace(metrics.accuracy, image_count=50_000, failed_count=0)
    assert make_accuracy_table(msgspec.structs.replace(metrics, accuracy=whole), se_resnext50).notes == ()


def test_accuracy_among_the_classes_of_a_known_set_stands_beside_that_of_all(
    metrics: Metrics, se_resnext50: ModelRecord
) -> None:
    accuracy = msgspec.structs.replace(metrics.accuracy, class_count=1000)
    subset = SubsetAccuracy(name="Imagenette", class_count=10, top1=accuracy.top3, top5=accuracy.top5)
    both = msgspec.structs.replace(metrics, accuracy=accuracy, subset=subset)
    assert [row[1] for row in make_accuracy_table(both, se_resnext50).rows[:4]] == [
        "Top-1 of all 1,000 classes",
        "Top-5 of all 1,000 classes",
        "Top-1 of the 10 classes of Imagenette",
        "Top-5 of the 10 classes of Imagenette",
    ]
    of_five = msgspec.structs.replace(subset, class_count=5)
    assert [name for name, _ in of_five.shown] == ["Top-1 of the 5 classes of Imagenette"]


def test_measured_and_published_throughput_stand_side_by_side(
    benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    table = make_one_throughput_table(benchmark.rows, se_resnext50)
    assert table.header[-3:] == ("Ascend 310", "Ascend 310P", "NVIDIA T4")
    assert table.rows[0][:2] == ("1", "40.00")
    assert table.rows[0][-3:-1] == ("786.26", "1006.47")
    assert table.rows[1][:2] == ("4", "90.00 *")
    assert table.rows[1][-3:-1] == ("941.04", "1804.86 *")


def test_published_throughput_has_the_published_digits(
    benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    assert make_one_throughput_table(benchmark.rows, se_resnext50).rows[0][-1] == "549.747"


def test_a_batch_size_that_nobody_published_has_empty_cells(
    make_row: MakeRow, se_resnext50: ModelRecord
) -> None:
    (row,) = make_one_throughput_table([make_row(3, 40.0)], se_resnext50).rows
    assert row[-3:] == ("", "", "")


def test_throughput_says_source_and_clock_and_that_it_was_not_run_here(
    benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    notes = make_one_throughput_table(benchmark.rows, se_resnext50).notes
    assert "median of 5 repeats, openvino on CPU, fp32, call clock, 2 callers at once" in notes[0]
    for device in ("Ascend 310", "Ascend 310P", "NVIDIA T4"):
        (note,) = (note for note in notes if "as published" in note and re.search(rf"\b{device}\b", note))
        assert "device clock" in note
        assert "not run here" in note
        assert "Ascend ModelZoo-PyTorch, SE-ResNeXt50_32x4d README" in note


def test_published_and_measured_outliers_are_named(make_row: MakeRow, se_resnext50: ModelRecord) -> None:
    rows = [make_row(1, 40.0), make_row(4, 10.0), make_row(8, 80.0)]
    outliers = [
        note for note in make_one_throughput_table(rows, se_resnext50).notes if note.startswith("Outlier")
    ]
    assert len(outliers) == 2
    assert "measured at batch 4 " in outliers[0]
    assert "Ascend 310P at batch 32 " in outliers[1]


def test_there_is_no_ratio_between_figures_on_different_clocks(
    benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    table = make_best_batch_table(benchmark.rows, se_resnext50)
    assert table.header[-1] == "of Ascend 310"
    assert table.rows == (
        ("measured: openvino on CPU, fp32", "call", "4", "90.00", "other clock"),
        ("published: Ascend 310", "device", "16", "1113.52", "1.00"),
        ("published: Ascend 310P", "device", "4", "1804.86", "1.62"),  # 1804.86 / 1113.52
        ("published: NVIDIA T4", "device", "64", table.rows[3][3], "0.95"),  # 1054.064 / 1113.52
    )
    assert any("no ratio" in note for note in make_one_throughput_table(benchmark.rows, se_resnext50).notes)


def test_figures_on_one_clock_have_a_ratio(make_row: MakeRow, se_resnext50: ModelRecord) -> None:
    rows = [make_row(16, 2227.04, clock="device")]
    assert make_best_batch_table(rows, se_resnext50).rows[0][-1] == "2.00"
    assert not any("no ratio" in note for note in make_one_throughput_table(rows, se_resnext50).notes)


def test_without_published_figures_the_measured_ones_stand_alone(
    benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    alone = msgspec.structs.replace(
        se_resnext50, published_throughput=(), published_accuracy=(), speed_target=()
    )
    assert len(make_one_throughput_table(benchmark.rows, alone).header) == 5
    assert make_best_batch_table(benchmark.rows, alone).rows == (
        ("measured: openvino on CPU, fp32", "call", "4", "90.00", "1.00"),
    )


def test_rows_of_several_compiled_models_can_be_told_apart(
    make_row: MakeRow, se_resnext50: ModelRecord
) -> None:
    rows = [make_row(1, 40.0), make_row(1, 90.0, precision="bf16")]
    first, second = make_throughput_tables(rows, se_resnext50)
    assert "fp32" in first.title
    assert "bf16" in second.title


def test_outliers_are_looked_for_in_each_model_by_itself(
    make_row: MakeRow, se_resnext50: ModelRecord
) -> None:
    dip = [make_row(1, 80.0), make_row(4, 10.0), make_row(8, 80.0)]
    flat = [make_row(size, 80.0, precision="bf16") for size in (1, 4, 8)]
    notes = make_throughput_tables([*dip, *flat], se_resnext50)[0].notes
    assert any("Outlier: " in note and "batch 4 " in note for note in notes)


def test_failures_are_counted_by_reason(metrics: Metrics) -> None:
    assert make_failure_table(metrics.accuracy).rows == (("not decodable: a | pipe and a * star", "1"),)


def test_the_machine_table_holds_the_limits_and_the_versions(manifest: Manifest) -> None:
    found = {row[0]: row[1] for row in make_machine_table(manifest).rows}
    assert found["Processor"] == "Example CPU, 4 processors, limited to 1.5"
    assert found["Memory"] == "8.0 GiB"
    assert found["onnx"] == "not installed"
    assert found["Pixels of the built-in JPEGs"] == "as verified (libjpeg-turbo 3.2.0)"


def test_other_pixels_than_the_verified_ones_are_named(manifest: Manifest) -> None:
    pixel_check = msgspec.structs.replace(manifest.pixel_check, differing=("420.jpeg decoded",))
    manifest = msgspec.structs.replace(manifest, pixel_check=pixel_check)
    found = {row[0]: row[1] for row in make_machine_table(manifest).rows}
    assert found["Pixels of the built-in JPEGs"] == "differ: 420.jpeg decoded (libjpeg-turbo 3.2.0)"


def test_hashes_are_shown_whole(manifest: Manifest) -> None:
    assert make_hash_table(manifest).rows == (("weights.pth", "ab" * 32),)


def test_the_devices_of_a_card_are_counted_only_where_the_user_said_so(
    benchmark: Benchmark, se_resnext50: ModelRecord
) -> None:
    assert "card" not in " ".join(make_throughput_tables(benchmark.rows, se_resnext50)[0].notes)
    rows = [msgspec.structs.replace(row, card_devices=4) for row in benchmark.rows]
    table = make_throughput_tables(rows, se_resnext50)[0]
    best = max(row.images_per_second.median for row in rows)
    note = next(note for note in table.notes if "card" in note)
    assert f"= {4 * best:.2f} images/s at best, computed, not measured" in note
    assert table.rows == make_throughput_tables(benchmark.rows, se_resnext50)[0].rows


def test_a_memory_and_a_load_that_the_system_does_not_tell_are_unknown(manifest: Manifest) -> None:
    """As on Windows, where neither is read."""
    silent = msgspec.structs.replace(manifest.machine, memory_bytes=None, load_average=None)
    manifest = msgspec.structs.replace(manifest, machine=silent)
    rows = make_machine_table(manifest).rows
    assert ("Memory", "unknown") in rows
    assert ("Load average at the start", "unknown") in rows
