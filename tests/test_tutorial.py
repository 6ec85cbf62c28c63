"""The tutorial, step by step as it stands on the page; and the site that the documentation becomes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from conftest import RunAssay

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = (ROOT / "docs/tutorial/first-run.md").read_text(encoding="utf-8")


def list_blocks(language: str, text: str = TUTORIAL) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def list_commands(heading: str) -> list[list[str]]:
    """The commands of assay below a heading of the tutorial."""
    section = TUTORIAL.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = "".join(list_blocks("bash", section)).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("assay ")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_newcomer_makes_a_model_of_five_classes_and_judges_it(
    run_assay: RunAssay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = list_blocks("python")
    exec(code, {})
    commands = list_commands("2. A model of five classes")
    assert [command[0] for command in commands] == ["inspect", "run", "run", "report"]
    for command in commands:
        done = run_assay(*command)
        assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "runs/float/metrics.json").read_text())
    assert metrics["accuracy"]["image_count"] == 200
    assert 150 < metrics["accuracy"]["top1"]["hits"] < 200  # it has learned the colours, and not all pictures
    page = (tmp_path / "page/report.html").read_text()
    assert "A (float)" in page
    assert "B (int8)" in page


@pytest.mark.slow
def test_the_hand_written_record_gives_the_figures_that_the_tutorial_names(
    run_assay: RunAssay, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("efficientnet_lite0", "images", "labels.txt"):
        (tmp_path / name).symlink_to(golden / name)
    (record,) = list_blocks("toml")
    (tmp_path / "lite0.toml").write_text(record)
    (command,) = [
        command for command in list_commands("3. Real weights and photographs") if "runs/lite0" in command
    ]
    done = run_assay(*command)
    assert done.returncode == 0, done.stderr
    top1 = json.loads((tmp_path / "runs/lite0/metrics.json").read_text())["accuracy"]["top1"]
    low, high = top1["interval_percent"]
    said = f"Top-1 {top1['hits']} of 100: {top1['percent']:.2f} % (95 %: {low:.2f} to {high:.2f})"
    assert said in TUTORIAL.replace("\n", " ")


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.slow
def test_the_site_is_searched_and_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    """Built as `make check` builds it, where a warning is an error."""
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    handler = partial(_QuietHandler, directory=tmp_path / "site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}/"
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{root}tutorial/live-report.html")
        page.frame_locator("iframe").locator(".verdict").wait_for()
        page.goto(f"{root}index.html")
        page.get_by_placeholder("Search").fill("resume")
        page.locator(".md-search-result__item").first.wait_for()
        browser.close()
    server.shutdown()
    server.server_close()
    assert f"{root}demo/report.html" in asked
    assert [url for url in asked if not url.startswith((root, "data:", "blob:"))] == []
