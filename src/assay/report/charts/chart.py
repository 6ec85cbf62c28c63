"""What a chart is to the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Chart:
    """An SVG under its title; it is empty where a note says why there is none."""

    title: str
    svg: str
    note: str = ""
