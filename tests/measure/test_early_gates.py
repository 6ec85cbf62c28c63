"""Gates that are certain early: every answer of the other images tried, and the gates themselves asked."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import Accuracy, compute_wilson_interval, measure_accuracy
from assay.measure.early_gates import PassRange, Seen, find_pass_ranges
from assay.measure.gates import Evidence, judge_gate, parse_gate
from assay.models.record import ModelRecord, PublishedAccuracy


@given(st.data())
def test_the_bound_is_exact(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    ends = [sorted(data.draw(st.tuples(st.integers(0, count), st.integers(0, count)))) for _ in range(2)]
    needs_all = data.draw(st.booleans())
    seen_count = data.draw(st.integers(0, count))
    failed = data.draw(st.integers(0, seen_count))
    top5 = data.draw(st.integers(0, seen_count - failed))
    top1 = data.draw(st.integers(0, top5))
    seen = Seen(image_count=seen_count, top1=top1, top5=top5, failed=failed)
    (low1, high1), (low5, high5) = ends
    passing = PassRange(count=count, top1=(low1, high1), top5=(low5, high5), needs_all=needs_all)

    left = count - seen_count
    open_count = left + failed if needs_all else left
    ends_well = [
        low1 <= top1 + more1 <= high1 and low5 <= top5 + more5 <= high5
        for more5 in range(open_count + 1)
        for more1 in range(more5 + 1)
    ]
    assert passing.is_out_of_reach(seen) == (not any(ends_well))
    assert passing.is_reached(seen) == (all(ends_well) and not (needs_all and open_count))


def make_accuracy(top1: int, top5: int, count: int) -> Accuracy:
    accuracy = measure_accuracy([Prediction(name="a", relative_path="a", label=0, status="x")])
    topk = []
    for hits in (top1, top5):
        low, high = compute_wilson_interval(hits, count)
        topk.append(
            msgspec.structs.replace(
                accuracy.top1,
                hits=hits,
                percent=100 * hits / count,
                interval_percent=(100 * low, 100 * high),
            )
        )
    return msgspec.structs.replace(
        accuracy, image_count=count, scored_count=count, failed_count=0, top1=topk[0], top5=topk[1]
    )


@pytest.mark.parametrize(
    ("gate", "count"),
    [
        ("published", 50_000),
        ("mlperf-99", 50_000),
        ("mlperf-99.9", 50_000),
        ("smoke", 600),
        ("smoke", 50_000),
    ],
)
@pytest.mark.parametrize("has_top5", [True, False])
def test_the_ranges_are_those_of_the_gate_itself(
    se_resnext50: ModelRecord, gate: str, count: int, has_top5: bool
) -> None:
    record = se_resnext50
    if not has_top5:
        only_top1 = PublishedAccuracy(source="a README", top1_percent=79.06)
        record = msgspec.structs.replace(se_resnext50, published_accuracy=(only_top1,))
    ranges = find_pass_ranges(parse_gate(gate), record, count, is_val=count == 50_000)
    assert ranges

    def passes(top1: int, top5: int) -> bool:
        accuracy = make_accuracy(top1, top5, count)
        evidence = Evidence(accuracy=accuracy, is_whole=True, record=record)
        return judge_gate(parse_gate(gate), evidence).outcome == "pass"

    def holds(top1: int, top5: int) -> bool:
        return any(
            each.top1[0] <= top1 <= each.top1[1] and each.top5[0] <= top5 <= each.top5[1] for each in ranges
        )

    near = {
        (a + d, b + e) for r in ranges for a in r.top1 for b in r.top5 for d in (-1, 0, 1) for e in (-1, 0, 1)
    }
    near = {(a, b) for a, b in near if 0 <= a <= b <= count}
    assert {pair for pair in near if passes(*pair)} == {pair for pair in near if holds(*pair)}
    assert any(passes(*pair) for pair in near)


@pytest.mark.parametrize(
    ("gate", "count"),
    [("published", 49_999), ("mlperf-99", 600), ("smoke", 499), ("paired:1", 50_000), ("speedup>=2", 50_000)],
)
def test_a_gate_that_cannot_pass_by_published_accuracy_has_no_range(
    se_resnext50: ModelRecord, gate: str, count: int
) -> None:
    assert find_pass_ranges(parse_gate(gate), se_resnext50, count, is_val=count == 50_000) == []


def test_failed_images_might_have_been_right_where_a_gate_needs_all(se_resnext50: ModelRecord) -> None:
    (passing,) = find_pass_ranges(parse_gate("mlperf-99"), se_resnext50, 50_000, is_val=True)
    assert passing.is_ruled_out(Seen(image_count=32), 0.001)
    assert not passing.is_ruled_out(Seen(image_count=32, failed=32), 0.001)
    assert not passing.is_ruled_out(Seen(image_count=32, top1=25, top5=30), 0.001)
