from __future__ import annotations

import pytest

from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import measure_accuracy
from assay.models.record import ModelRecord
from assay.report.sentences import describe_shortfall
from pattern_network import RECORD


def describe(record: ModelRecord, right: int, count: int) -> list[str]:
    rows = [
        Prediction(
            name="a",
            relative_path=f"{k}",
            label=1,
            status="ok",
            top_classes=(1 if k < right else 2, 3, 4, 5, 6),
        )
        for k in range(count)
    ]
    return describe_shortfall(measure_accuracy(rows), record)


@pytest.mark.parametrize(("right", "count"), [(60, 100), (0, 100)])
def test_far_below_what_is_published_points_to_diagnose(
    se_resnext50: ModelRecord, right: int, count: int
) -> None:
    (line,) = describe(se_resnext50, right, count)
    assert "far below what is published (79.05 %)" in line
    assert "assay diagnose" in line


@pytest.mark.parametrize(("right", "count"), [(74, 100), (3, 12), (39_500, 50_000)])
def test_what_a_sample_can_explain_does_not(se_resnext50: ModelRecord, right: int, count: int) -> None:
    assert describe(se_resnext50, right, count) == []


def test_near_chance_points_to_diagnose_where_nothing_is_published() -> None:
    assert "near chance" in describe(RECORD, 3, 100)[0]
    assert describe(RECORD, 50, 100) == []
