from __future__ import annotations

from html import unescape
from pathlib import Path

import msgspec

from assay.measure.gates import GateResult
from assay.report.contents import gather_contents
from assay.report.document import describe_contents
from assay.report.html import render_page
from assay.report.markdown import render_markdown
from assay.report.named_run import NamedRun
from assay.report.tables.table import Table
from assay.report.text import WIDTH, render_text
from assay.runs.results_file import Benchmark, Manifest, Metrics


def summarise_run(
    folder: Path, manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None
) -> list[str | Table]:
    run = NamedRun(name="", manifest=manifest, metrics=metrics, benchmark=benchmark)
    return render_text(gather_contents([run]), folder)


def test_a_summary_holds_accuracy_agreement_failures_and_speed(
    tmp_path: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    items = summarise_run(tmp_path, manifest, metrics, benchmark)
    lines = [item for item in items if isinstance(item, str)]
    assert lines[0] == "se_resnext50_32x4d on openvino (CPU, fp32)"
    starts = (
        "Top-1  2 of 4  50.00 %",
        "Top-5  3 of 4  75.00 %",
        "Best throughput  90.00",
        "Same Top-1 as torch",
    )
    for start in starts:
        assert any(line.startswith(start) for line in lines), start
    assert "openvino fp32 is 33.33 points below torch on 3 images" in " ".join(lines)
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= WIDTH
    tables = [item.title for item in items if isinstance(item, Table)]
    assert tables == ["Failed images", "Throughput", "Published throughput"]


def test_the_last_screen_of_a_summary_holds_verdict_accuracy_and_speed(
    tmp_path: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    items = summarise_run(tmp_path, manifest, metrics, benchmark)
    last = [item for item in items[-22:] if isinstance(item, str)]
    for start in ("Verdict: ", "Top-1  2 of 4", "Best throughput  90.00", "Results: "):
        assert any(line.startswith(start) for line in last), start


def test_a_summary_says_where_the_files_are(tmp_path: Path, manifest: Manifest) -> None:
    for name in ("report.md", "manifest.json", "predictions"):
        (tmp_path / name).touch()
    lines = summarise_run(tmp_path, manifest, None, None)
    assert lines[-1] == f"Results: {tmp_path}"
    (tmp_path / "report.html").touch()
    assert summarise_run(tmp_path, manifest, None, None)[-1] == f"Report: {tmp_path}/report.html"


def test_a_remark_stands_before_the_verdict(tmp_path: Path, manifest: Manifest) -> None:
    manifest = msgspec.structs.replace(manifest, remark="weights made on the spot")
    lines = summarise_run(tmp_path, manifest, None, None)
    assert lines[lines.index("weights made on the spot") + 1].startswith("Verdict: ")  # type: ignore[union-attr]


def test_markdown_page_and_document_hold_every_sentence_and_the_terminal_all_but_the_circumstances(
    tmp_path: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    gates = [GateResult(gate="smoke", outcome="cannot tell", reason="needs 500 images; this run has 4")]
    manifest = msgspec.structs.replace(manifest, gates=gates, remark="weights made on the spot")
    run = NamedRun(name="", manifest=manifest, metrics=metrics, benchmark=benchmark)
    contents = gather_contents([run])
    assert any(line.startswith("Gate smoke: cannot tell") for line in contents.findings)
    markdown, page = render_markdown(contents), unescape(render_page(contents))
    said = " ".join(" ".join(f"{item}" for item in render_text(contents, tmp_path)).split())
    for line in (contents.title, contents.remark, contents.verdict, *contents.lines):
        assert line in markdown
        assert line in page
    for line in (*(card.line for card in contents.cards), *contents.findings, *contents.notes):
        assert line in markdown
        assert " ".join(line.split()) in said
    assert describe_contents(contents)["lines"] == contents.lines
