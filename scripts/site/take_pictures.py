"""Take the pictures of a report and its live page from a finished demo, which ran on a quiet machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = {"report.png": (1280, 820, "light"), "report-phone-dark.png": (390, 844, "dark")}


def main(run_folder: Path) -> None:
    """Write docs/demo/report.html and docs/images/report*.png from a run folder."""
    page_path = DOCS / "demo" / "report.html"
    page_path.parent.mkdir(exist_ok=True)
    shutil.copyfile(run_folder / "report.html", page_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height, scheme) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(page_path.as_uri())
            page.screenshot(path=DOCS / "images" / name)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
