"""The first screen of a report: whose figures they are, and where the points of its chart lie."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from assay.measure.speed.throughput import ThroughputRow
from assay.models.record import ModelRecord
from assay.report.charts.trade_off_chart import TradeOffPoint, draw_trade_off
from assay.report.first_screen import pick_figures
from assay.report.named_run import NamedRun
from assay.report.tables.original_layout import make_layout_throughput_table
from assay.report.trade_off import list_points
from assay.runs.results_file import Benchmark, Manifest, Metrics

MakeRow = Callable[..., ThroughputRow]


@pytest.fixture
def int8_run(manifest: Manifest, metrics: Metrics, make_row: MakeRow) -> NamedRun:
    """An int8 model that is slower than the float one it was made of, which was measured beside it."""
    assert metrics.agreement is not None
    agreement = msgspec.structs.replace(metrics.agreement, reference="openvino fp32")
    return NamedRun(
        name="",
        manifest=msgspec.structs.replace(manifest, precision="int8"),
        metrics=msgspec.structs.replace(metrics, agreement=agreement),
        benchmark=Benchmark(rows=[make_row(8, 30.0, precision="int8"), make_row(8, 90.0)]),
    )


def test_the_speed_is_of_the_runs_own_model_though_its_reference_is_faster(int8_run: NamedRun) -> None:
    names = [figure.name for figure in pick_figures([int8_run])]
    assert names == ["Top-1", "Same answer as openvino fp32", "Best throughput"]
    assert pick_figures([int8_run])[-1].value == "30.00 images/s"


def test_a_runs_own_speed_stands_over_that_of_its_reference(
    int8_run: NamedRun, se_resnext50: ModelRecord
) -> None:
    table = make_layout_throughput_table([int8_run], se_resnext50)
    assert table is not None
    place = table.header.index("openvino CPU int8 / openvino CPU fp32")
    assert table.rows[-1][place] == "0.33"  # 30 / 90


def test_model_reference_and_published_chips_are_points(int8_run: NamedRun) -> None:
    points = list_points([int8_run])
    assert [(one.name, one.rate, one.is_published) for one in points] == [
        ("openvino int8", 30.0, False),
        ("openvino fp32", 90.0, False),
        ("Ascend 310", 1113.52, True),
        ("Ascend 310P", 1804.86, True),  # of the T4 no accuracy was published
    ]
    assert [one.percent for one in points] == pytest.approx([100 * 2 / 4, 100 * 2 / 3, 79.06, 79.06])


@pytest.mark.parametrize("rates", [(1.28, 1113.52, 1804.86), (3e-3, 9.0, 2.7e6), (40.0, 41.0, 42.0)])
def test_every_point_lies_where_its_speed_is(rates: tuple[float, float, float]) -> None:
    points = [
        TradeOffPoint(
            name="", details="", percent=80, percent_interval=None, rate=rate, rate_range=(rate * 0.9, rate)
        )
        for rate in rates
    ]
    drawn = draw_trade_off("", points)
    places = [float(place) for place in re.findall(r'cx="([\d.]+)"', drawn)]
    assert places == sorted(set(places))
    assert places[0] > 64
    assert places[-1] <= 616
