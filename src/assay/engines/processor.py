"""What the processor of this machine is called."""

from __future__ import annotations

import platform
import re
from pathlib import Path


def describe_processor() -> str:
    """Return the processor's own name, such as `AMD EPYC 7B13`."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or "unknown"
