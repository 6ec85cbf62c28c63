"""`report.html` in a real browser, from a file and with the network off."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from assay.diagnose.changed_images import examine_changes
from assay.diagnose.emulation import Emulation
from assay.diagnose.network_finding import LayerError, NetworkFinding, Repair
from assay.diagnose.view import Photograph, View
from assay.images.drawn_images import draw_labelled_images
from assay.inference.shards import read_shard, write_shard
from assay.report.cause_page import render_cause_page
from assay.report.trend import render_trend_page
from assay.runs.results_file import Manifest
from assay.workflows.diagnose.photographs import Shown
from assay.workflows.diagnose.pictures import make_pictures
from assay.workflows.history.trends import gather_trends
from assay.workflows.results.report import write_report
from conftest import RunAssay
from history_runs import make_accuracy, make_run, make_speed
from pattern_network import RECORD

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def run_folder(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished `assay run` over 80 drawn images, nearly all of them mistaken."""
    folder = tmp_path_factory.mktemp("page")
    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=80, seed=3)
    given = ["--weights", colour_onnx, "--images", folder / "images", "--labels", folder / "labels.txt"]
    done = run_assay("run", *given, "--batch-size", "1,2,4", "-o", folder / "run", "-q")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("chromium is not installed: the page was not opened in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, run_folder: Path) -> Iterator[Page]:
    """The page, opened without a network; any message on the console or request but the file is an error."""
    context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else complaints.append(request.url)
        ),
    )
    page.goto((run_folder / "report.html").as_uri())
    yield page
    context.close()
    assert complaints == []


def unfold(page: Page, title: str) -> Locator:
    """The heading of a table, which is then open."""
    heading = page.locator("h2", has_text=title)
    heading.evaluate("heading => { heading.closest('details').open = true }")
    return heading


def read_column(page: Page, title: str, column: int) -> list[str]:
    heading = unfold(page, title)
    table = page.locator(f"#{heading.get_attribute('id')}-table")
    return [row.locator("td").nth(column).inner_text() for row in table.locator("tbody tr:visible").all()]


def find_button(page: Page, title: str, name: str) -> None:
    heading = unfold(page, title)
    page.locator(f"#{heading.get_attribute('id')}-table").get_by_role("button", name=name).click()


def test_the_first_screen_has_the_verdict_the_accuracy_and_the_speed(page: Page) -> None:
    assert page.locator(".verdict").is_visible()
    cards = page.locator(".card").all_inner_texts()
    assert [card.splitlines()[0] for card in cards] == ["Top-1", "Top-5", "Best throughput"]
    assert "of 80; 95 %:" in cards[0]
    assert "call clock" in cards[2]
    bottom = page.locator(".card").last.bounding_box()
    assert bottom is not None
    assert bottom["y"] + bottom["height"] < 900


def test_a_table_sorts_by_a_column_and_back(page: Page) -> None:
    title = "Accuracy by class"
    find_button(page, title, "Top-5 %")
    up = [float(text) for text in read_column(page, title, 3)]
    assert up == sorted(up)
    find_button(page, title, "Top-5 %")
    assert [float(text) for text in read_column(page, title, 3)] == sorted(up, reverse=True)
    head = page.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "descending"


def test_a_table_filters(page: Page) -> None:
    title = "Accuracy by class"
    first = read_column(page, title, 0)[3]
    heading = page.locator("h2", has_text=title)
    page.locator(f"input[data-table={heading.get_attribute('id')}-table]").fill(first)
    assert read_column(page, title, 0) == [first]
    status = page.locator("p", has=page.locator(f"input[data-table={heading.get_attribute('id')}-table]"))
    assert re.fullmatch(r"1 of \d+ rows", status.get_by_role("status").inner_text())


def test_the_theme_switches_and_back(page: Page) -> None:
    read = "getComputedStyle(document.body).backgroundColor"
    colours = [page.evaluate(read)]
    for _ in range(2):
        page.locator("#theme").click()
        colours.append(page.evaluate(read))
    assert colours[0] == colours[2] != colours[1]


def test_the_gallery_shows_the_mistakes_with_thumbnails(page: Page, run_folder: Path) -> None:
    rows = pq.read_table(run_folder / "predictions").to_pylist()
    wrong = sum(row["label"] != row["top_classes"][0] for row in rows)
    assert wrong > 30
    assert page.locator(".gallery > li").count() == 30
    assert page.locator("#shown").inner_text() == "30 shown"
    image = page.locator(".gallery img").first
    image.scroll_into_view_if_needed()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.get_by_role("button", name=re.compile(r"mistake \(30\)")).click()
    assert page.locator(".gallery > li:visible").count() == 30


@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_is_no_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(page: Page, width: int, scheme: Literal["light", "dark"]) -> None:
    """Every rule of axe-core, with every table open: contrast, names, roles, headings, landmarks, tables."""
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    found = Axe().run(page).response
    assert len(found["passes"]) > 20
    serious = [
        (violation["id"], violation["nodes"][0]["html"], violation["nodes"][0]["failureSummary"])
        for violation in found["violations"]
        if violation["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    assert [violation["id"] for violation in found["violations"]] == []


@pytest.fixture(scope="module")
def diagnosis_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a diagnosis with every part: names that would be markup stand in it as text."""
    shots = np.random.default_rng(0).integers(0, 256, (20, 40, 30, 3), dtype=np.uint8)
    scores = np.stack([np.linspace(0.1, 3, 20), np.zeros(20)], axis=1)
    names = [f"<script>alert({k})</script>.png" for k in range(20)]
    traits = [{"<b>grey</b>": k % 2 == 0} for k in range(20)]
    others, labels = np.where(np.arange(20)[:, None] < 6, scores[:, ::-1], scores), np.zeros(20, np.int64)
    found = examine_changes(names, traits, scores, others, labels)
    errors = [
        LayerError(name=f"<i>{k}</i>", operator="Conv", tensor=f"t{k}", place=k, sqnr_db=40.0 - k, cause=None)
        for k in range(20)
    ]
    network = NetworkFinding(
        outcome="damaged",
        image_count=20,
        reference_hits=20,
        limit_db=28,
        layers=("<i>19</i>",),
        errors=(msgspec.structs.replace(errors[19], cause="weights"), *errors[:19]),
        repairs=(
            Repair(layer_count=0, same_count=14, hits=14),
            Repair(layer_count=1, same_count=20, hits=20),
        ),
    )
    emulation = Emulation(arithmetic="bf16", images=found, margin_change=0.2, at_risk=("<u>a</u>",))
    shown = Shown(
        photographs=[
            Photograph(name=name, stored=shot, traits=trait)
            for name, shot, trait in zip(names, shots, traits, strict=True)
        ],
        images=np.zeros((20, 3, 8, 8), np.float32),
        view=View(record=RECORD),
        classes=labels,
    )
    pictures = make_pictures(found, shown, RECORD)
    page = render_cause_page("<em>model</em>", None, network, found, emulation, pictures)
    path = tmp_path_factory.mktemp("diagnosis") / "diagnosis.html"
    path.write_text(page)
    return path


def test_a_diagnosis_is_read_by_everyone(browser: Browser, diagnosis_page: Path) -> None:
    """By axe in both themes and widths, without a word on the console; its curve by keyboard and by touch."""
    context = browser.new_context(offline=True, has_touch=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(diagnosis_page.as_uri())
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme, width in zip(schemes, (375, 1440), strict=True):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    value = page.locator("section", has=page.locator(".curve")).locator(".value")
    page.locator(".curve .point").first.focus()
    page.keyboard.press("ArrowRight")
    assert value.inner_text() == "t1 (Conv <i>1</i>): 39.0 dB"
    page.locator(".curve .point").last.scroll_into_view_if_needed()
    box = page.locator(".curve .point").last.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 3, box["y"] - 30)
    assert value.inner_text().startswith("t19 (Conv <i>19</i>): 21.0 dB; its weights differ")
    assert page.locator(".gallery img").count() == 6
    assert "<script>alert(0)</script>.png" in page.locator(".gallery > li").first.inner_text()
    context.close()
    assert complaints == []


def test_trends_are_read_by_everyone(browser: Browser, manifest: Manifest, tmp_path: Path) -> None:
    """By axe in both themes and widths; no percent sign begins a line; at most three pages of paper."""
    is_right = np.arange(2000) % 4 != 0
    trends = gather_trends(
        [
            make_run(manifest, number, make_accuracy(is_right), make_speed([100 + number % 3]))
            for number in range(1, 21)
        ]
    )
    (tmp_path / "history.html").write_text(render_trend_page(trends, "h.sqlite"), encoding="utf-8")
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto((tmp_path / "history.html").as_uri())
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme, width in zip(schemes, (375, 1440), strict=True):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    assert "5\N{NO-BREAK SPACE}%" in page.locator(".verdict").inner_text()
    assert len(re.findall(rb"/Type */Page\b", page.pdf(format="A4"))) <= 3
    context.close()


def test_charts_have_values_on_hover_and_a_name(page: Page) -> None:
    chart = page.locator("svg[aria-label='Throughput by batch size']")
    titles = [circle.text_content() or "" for circle in chart.locator("circle title").all()]
    assert any(
        re.fullmatch(r"openvino fp32, call clock, batch 2: [\d,.]+ \(.* to .*\) INVALID", title)
        for title in titles
    )
    assert any("Ascend 310, published, device clock, batch 16: 1,114" in title for title in titles)


def test_the_reliability_diagram_has_a_bar_for_every_bin_with_images(page: Page, run_folder: Path) -> None:
    found = json.loads((run_folder / "metrics.json").read_text())["calibration_error"]
    bars = page.locator("svg[aria-label='Reliability diagram'] .bar")
    counts = [one["image_count"] for one in found["bins"] if one["image_count"]]
    assert sum(counts) == 80
    labels = [bar.get_attribute("aria-label") or "" for bar in bars.all()]
    assert [int(re.findall(r": (\d+) images", label)[0]) for label in labels] == counts
    assert page.get_by_text(f"Expected calibration error {100 * found['ece']:.2f} %").first.is_visible()


def test_a_class_has_its_name_and_synset(page: Page) -> None:
    assert all(re.fullmatch(r"\d+ .+ \(n\d{8}\)", text) for text in read_column(page, "Accuracy by class", 0))
    assert re.search(r"label\s+\d+ .+ \(n\d{8}\)", page.locator(".gallery > li").first.inner_text())


def test_paper_is_white_and_has_no_buttons(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#theme").is_visible()
    assert not page.locator("input").first.is_visible()
    assert page.locator("th").first.is_visible()


def test_a_print_has_at_most_six_pages(page: Page) -> None:
    """With the answer, its chart, the open tables and nine of the images."""
    found = page.pdf(format="A4")
    assert 2 <= len(re.findall(rb"/Type */Page\b", found)) <= 6


def test_a_table_is_saved_as_csv_in_which_no_cell_is_a_formula(page: Page) -> None:
    heading = unfold(page, "Accuracy by class")
    page.evaluate("document.querySelector('#tables ~ details td').textContent = '=1+1'")
    with page.expect_download() as waiting:
        heading.locator("xpath=ancestor::details").locator("a.csv").click()
    assert waiting.value.suggested_filename == "accuracy-by-class-the-lowest-first.csv"
    rows = list(csv.reader(waiting.value.path().read_text().splitlines()))
    assert rows[0] == ["Class", "Images", "Top-1 %", "Top-5 %", "failed"]
    assert len(rows) == 1 + len(read_column(page, "Accuracy by class", 0))
    assert not [cell for row in rows for cell in row if cell.startswith("=")]


def test_links_theme_points_and_sorting_work_by_keyboard_and_controls_have_names(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Go to the tables"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "theme"
    page.keyboard.press("Enter")
    theme = page.evaluate("document.documentElement.dataset.theme")
    assert theme in {"dark", "light"}
    assert page.locator("#said").text_content() == f"{theme} theme"
    page.keyboard.press("Tab")
    point = page.locator("circle.point").first
    assert point.evaluate("point => point === document.activeElement")
    assert page.locator(".value").first.text_content() == point.get_attribute("aria-label")
    unfold(page, "Accuracy by class")
    head = page.locator("th", has_text="Top-5 %").last
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator("#said").text_content() == "sorted by Top-5 %, ascending"
    controls = page.locator("button, input")
    assert all(
        (control.text_content() or control.evaluate("e => e.labels.length")) for control in controls.all()
    )


def test_the_page_is_under_two_megabytes_and_loads_nothing(run_folder: Path) -> None:
    assert (run_folder / "report.html").stat().st_size < 2 * MEGABYTE
    text = (run_folder / "report.html").read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert 'src="http' not in text


def test_sixty_thumbnails_of_noise_stay_under_two_megabytes(run_folder: Path, tmp_path: Path) -> None:
    """Noise is what JPEG packs worst."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    shutil.copytree(run_folder, tmp_path / "run")
    manifest = json.loads((run_folder / "manifest.json").read_text())
    shutil.copytree(manifest["image_set"]["path"], tmp_path / "images")
    for path in (tmp_path / "images").iterdir():
        Image.fromarray(noise).save(path, "JPEG", quality=95)
    manifest["image_set"]["path"] = str(tmp_path / "images")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    add_reference(tmp_path / "run")
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 60
    assert len(page) < 2 * MEGABYTE


def add_reference(run: Path) -> None:
    """Give the run a reference that is right on every image, and so differs on most."""
    (run / "reference").mkdir()
    for part in (run / "predictions").iterdir():
        right = [replace(row, top_classes=(row.label or 0, *range(996, 1000))) for row in read_shard(part)]
        write_shard(run / "reference" / part.name, right, "of the reference")


def test_file_names_cannot_inject_anything(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path, browser: Browser
) -> None:
    folder = tmp_path / "images"
    draw_labelled_images(folder, tmp_path / "labels.txt", image_count=1, seed=1)
    (image,) = folder.iterdir()
    evil = "a <img src=x onerror=document.title='evil'>.jpg"
    image.rename(folder / evil)
    (tmp_path / "labels.txt").write_text(f"{evil}\t7\n")
    given = [
        "--weights",
        colour_onnx,
        "--images",
        folder,
        "--labels",
        tmp_path / "labels.txt",
        "--batch-size",
        "1",
    ]
    done = run_assay("run", *given, "-o", tmp_path / "run", "-q")
    assert done.returncode == 0, done.stderr
    page = browser.new_page()
    page.goto((tmp_path / "run" / "report.html").as_uri())
    assert page.title() != "evil"
    assert evil in page.locator(".gallery > li").first.inner_text()
    page.close()
