"""MkDocs hooks: the navigation in the order of docs/README.md, and the pages that lie beside docs/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/assay-bench/assay/blob/main/"
SECTIONS = {
    "tutorial": "Tutorial",
    "how-to": "How to",
    "reference": "Reference",
    "explanation": "Explanation",
}
BESIDE = {"README.zh-CN.md": "中文", "CONTRIBUTING.md": "Contribute", "CHANGELOG.md": "Changes"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Order the pages of each section as the index does; a page that it lacks stands behind the others."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    sections = [{title: list(_order_pages(folder, index))} for folder, title in SECTIONS.items()]
    project = [{title: name} for name, title in BESIDE.items()]
    config.nav = [{"assay": "README.md"}, *sections, {"Project": project}]
    return config


def _order_pages(folder: str, index: str) -> Iterator[str]:
    pages = {f"{folder}/{path.name}" for path in (ROOT / "docs" / folder).glob("*.md")}
    named = [page for page in re.findall(r"\]\(([\w/.-]+\.md)", index) if page in pages]
    yield from dict.fromkeys([*named, *sorted(pages)])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie at the root of the repository."""
    for name in BESIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links between docs/ and the root to the site's pages, and all others to the repository."""
    if page.file.src_uri in BESIDE:
        return re.sub(r"\]\((?!\w+:|#)([^)\s]+)\)", _lead_from_root, markdown)
    return re.sub(r"\]\(\.\./\.\./([^)\s]+)\)", _lead_from_docs, markdown)


def _lead_from_root(link: re.Match[str]) -> str:
    target = link[1]
    if target.partition("#")[0] in BESIDE:
        return link[0]
    return f"]({target.removeprefix('docs/')})" if target.startswith("docs/") else f"]({REPOSITORY}{target})"


def _lead_from_docs(link: re.Match[str]) -> str:
    name = link[1].partition("#")[0]
    return f"](../{link[1]})" if name in BESIDE else f"]({REPOSITORY}{link[1]})"
