from __future__ import annotations

from pathlib import Path

import msgspec

from assay.report.summary import summarise_run
from assay.report.tables.table import Table
from assay.runs.results_file import Benchmark, Manifest, Metrics


def test_a_summary_holds_accuracy_agreement_failures_and_speed(
    tmp_path: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    items = summarise_run(tmp_path, manifest, metrics, benchmark)
    lines = [item for item in items if isinstance(item, str)]
    assert lines[0] == "se_resnext50_32x4d on openvino (CPU, fp32)"
    assert lines[1].startswith("Top-1  2 of 4  50.00 %")
    assert lines[2].startswith("Top-5  3 of 4  75.00 %")
    assert lines[3].startswith("Same Top-1 as torch")
    tables = [item.title for item in items if isinstance(item, Table)]
    assert tables == ["Failed images", "Throughput: openvino on CPU, fp32"]


def test_a_summary_says_where_the_files_are(tmp_path: Path, manifest: Manifest) -> None:
    for name in ("report.md", "manifest.json", "predictions"):
        (tmp_path / name).touch()
    lines = summarise_run(tmp_path, manifest, None, None)
    assert lines[-2:] == [f"{tmp_path}/manifest.json", f"{tmp_path}/report.md"]


def test_a_remark_comes_first(tmp_path: Path, manifest: Manifest) -> None:
    manifest = msgspec.structs.replace(manifest, remark="weights made on the spot")
    assert summarise_run(tmp_path, manifest, None, None)[0] == "weights made on the spot"
