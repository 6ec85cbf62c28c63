"""What `assay verify` says."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from assay.report.tables.table import Table


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was computed again: `same`, or where and how it differs."""

    what: str
    found: str


def make_check_table(checks: Sequence[Check]) -> Table:
    """What was checked, and what was found."""
    rows = tuple((check.what, check.found) for check in checks)
    return Table(title="Computed again", header=("What", "Found"), rows=rows, is_text=True)
