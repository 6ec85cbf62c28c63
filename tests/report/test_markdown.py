from __future__ import annotations

import re

import msgspec

from assay.report.contents import gather_contents
from assay.report.markdown import render_markdown, render_table
from assay.report.named_run import NamedRun
from assay.report.tables.table import Table
from assay.runs.results_file import Benchmark, Manifest, Metrics


def render_report(manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None) -> str:
    run = NamedRun(name="", manifest=manifest, metrics=metrics, benchmark=benchmark)
    return render_markdown(gather_contents([run]))


def find_section(report: str, title: str) -> str:
    """Return what stands under a heading, up to the next one."""
    match = re.search(rf"^## {title}[^\n]*\n(.*?)(?=^## |\Z)", report, re.MULTILINE | re.DOTALL)
    assert match, title
    return match.group(1)


def test_a_report_says_what_was_run_and_what_came_out(
    manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    report = render_report(manifest, metrics, benchmark)
    assert report.startswith("# se_resnext50_32x4d on openvino (CPU, fp32)\n")
    assert "- Top-1  2 of 4  50.00 %" in report
    assert "- Top-5  3 of 4  75.00 %" in report
    assert "- Same Top-1 as torch on all but 1: 2 of 3" in report
    assert "largest logit difference 2.5e-06, same Top-1 on 4 of 4 images (opset 18)" in report
    assert "- Images: 4 in one folder; labels: label file val_label.txt" in report
    assert "- Status: finished; started 2026-01-02T03:04:05Z" in report
    assert "Not run." not in report
    assert "79.076" in find_section(report, "Accuracy")
    assert "1804.86" in find_section(report, "Throughput")
    assert report.endswith("\n")


def test_parts_that_were_not_run_are_named_as_not_run(
    manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    speed_only = render_report(manifest, None, benchmark)
    assert find_section(speed_only, "Accuracy").strip() == "Not run."
    assert "Not run." not in find_section(speed_only, "Throughput")
    accuracy_only = render_report(manifest, metrics, None)
    assert find_section(accuracy_only, "Throughput").strip() == "Not run."
    assert "Not run." not in find_section(accuracy_only, "Accuracy")


def test_a_run_that_had_only_begun_has_a_report(manifest: Manifest) -> None:
    begun = Manifest(
        status="running",
        arguments=(),
        started="2026-01-02T03:04:05Z",
        machine=manifest.machine,
        pixel_check=manifest.pixel_check,
    )
    report = render_report(begun, None, None)
    assert report.count("Not run.") == 2
    assert "- Status: running" in report


def test_a_remark_stands_at_the_top(manifest: Manifest) -> None:
    manifest = msgspec.structs.replace(manifest, remark="weights made on the spot")
    assert render_report(manifest, None, None).splitlines()[2] == "> **weights made on the spot**"


def test_failed_images_are_listed_by_reason_only_where_there_are_any(
    manifest: Manifest, metrics: Metrics
) -> None:
    assert "## Failed images" in render_report(manifest, metrics, None)
    sound = msgspec.structs.replace(metrics, accuracy=msgspec.structs.replace(metrics.accuracy, failures={}))
    assert "## Failed images" not in render_report(manifest, sound, None)


def test_other_pixels_than_the_verified_ones_are_told_at_the_top(manifest: Manifest) -> None:
    assert "computes other pixels" not in render_report(manifest, None, None)
    pixel_check = msgspec.structs.replace(manifest.pixel_check, differing=("420.jpeg decoded",))
    manifest = msgspec.structs.replace(manifest, pixel_check=pixel_check)
    assert "computes other pixels" in render_report(manifest, None, None)


def split_row(line: str) -> list[str]:
    """Return the cells of a row as GitHub's rules part them: a pipe behind a backslash is text."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_row_of_every_table_has_as_many_cells_as_its_header(
    manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    lines = render_report(manifest, metrics, benchmark).splitlines()
    expected = 0
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            cells = split_row(line)
            expected = expected if before.startswith("|") else len(cells)
            assert len(cells) == expected
    assert expected


def test_what_would_break_a_table_is_escaped() -> None:
    table = Table(
        title="T", header=("a|b", "c"), rows=(("one | two\nthree", "1.00 *"),), notes=("a note", "another")
    )
    assert list(render_table(table)) == [
        "## T",
        "",
        r"| a\|b | c |",
        "| --- | --- |",
        r"| one \| two three | 1.00 \* |",
        "",
        "- a note",
        "- another",
        "",
    ]


def test_html_in_a_reason_is_shown_not_interpreted() -> None:
    rows = (("not decodable: not an image: begins with b'<!DOCTYPE html>'", "1"),)
    table = Table(title="Failed images", header=("Reason", "Images"), rows=rows)
    assert not any("<!" in line.replace(r"\<", "") for line in render_table(table))


def test_a_name_from_outside_is_neither_image_nor_link_nor_code_of_a_terminal() -> None:
    rows = (("![x](https://host/seen.png) [y](https://host)\x1b[2J\r\n# heading", "1"),)
    shown = "\n".join(render_table(Table(title="T", header=("Name", "Images"), rows=rows)))
    assert r"!\[x](https://host/seen.png) \[y](https://host)" in shown
    assert shown.replace("\n", "").isprintable()
    assert "\n# heading" not in shown
