"""Which speeds are a run's own: what gates, verdicts and comparisons are told of a run on several devices."""

from __future__ import annotations

import msgspec

from assay.measure.speed.several_devices import SeveralDevicesRow
from assay.measure.speed.throughput import Spread
from assay.runs.own_rows import select_float_rows, select_rows
from assay.runs.results_file import Benchmark, Manifest
from speed_rows import make_speed_row, make_validity

RATES = {"npu:0": (100.0, 101.0), "npu:1": (90.0, 99.0), "npu:2": (110.0, 111.0)}


def make_benchmark(precision: str, rates: dict[str, tuple[float, float]]) -> Benchmark:
    spread = Spread(median=1.0, values=(1.0,))
    rows = [
        make_speed_row(*values, engine="ascend", device=name, precision=precision)
        for name, values in rates.items()
    ]
    together = SeveralDevicesRow(
        engine="ascend",
        precision=precision,
        batch_size=1,
        caller_count=1,
        alone=dict.fromkeys(rates, spread),
        at_once=dict.fromkeys(rates, spread),
        image_counts={},
        seconds=(),
        total=spread,
        validity=make_validity(is_valid=True),
    )
    return Benchmark(rows=rows, devices=[together])


def test_of_several_devices_the_slowest_at_each_batch_size_speaks_for_the_run(manifest: Manifest) -> None:
    manifest = msgspec.structs.replace(manifest, engine="ascend", device="npu", precision="int8")
    both = [make_benchmark("int8", RATES), make_benchmark("fp16", {"npu:0": (50.0, 51.0)})]
    benchmark = Benchmark(
        rows=[row for one in both for row in one.rows], devices=[row for one in both for row in one.devices]
    )
    (own,) = select_rows(manifest, benchmark)
    assert own.images_per_second.values == RATES["npu:1"]
    (beside,) = select_float_rows(manifest, benchmark)
    assert beside.images_per_second.values == (50.0, 51.0)
