"""Finds CANN, its compiler ATC, and the chips of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from assay.errors import MissingRuntimeError, UsageError

INSTALLED_AT = tuple(
    Path("/usr/local/Ascend") / place for place in ("ascend-toolkit/latest", "cann", "nnrt/latest")
)
HOME_VARIABLES = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")
# Names that atc takes for --soc_version, as its manual and the model zoo spell them.
SOC_VERSIONS = (
    *("Ascend310", "Ascend310P1", "Ascend310P3", "Ascend310P5", "Ascend310P7", "Ascend310B1", "Ascend310B4"),
    *("Ascend910A", "Ascend910B", "Ascend910B1", "Ascend910B2", "Ascend910B2C", "Ascend910B3", "Ascend910B4"),
    *("Ascend910B4-1", "Ascend910_9362", "Ascend910_9372", "Ascend910_9381", "Ascend910_9382"),
    *("Ascend910_9391", "Ascend910_9392"),
)
# A chip's first row has a word for its health in the second column; its second row has a bus address there.
_CHIP_ROW = re.compile(r"^\|\s*(\d+)\s+((?:Ascend)?\d{3}\w*(?:-\d)?)\s*\|\s*([A-Za-z]\w*)\s*\|", re.MULTILINE)
_BOARD_FIELD = re.compile(r"^\s*(Chip Name|NPU Name)\s*:\s*(\S+)\s*$", re.MULTILINE)
_SECONDS = 20


def find_atc() -> Path:
    """Return the path of ATC: on PATH, else where CANN's variables point to, else where it is installed.

    Raises:
        MissingRuntimeError: It is at none of these places.
    """
    on_path = shutil.which("atc")
    if on_path:
        return Path(on_path)
    for home in _list_homes(os.environ):
        for place in (home / "bin" / "atc", home / "atc" / "bin" / "atc"):
            if place.is_file():
                return place
    raise MissingRuntimeError(
        "ATC, the compiler of CANN, is not on this machine: looked on PATH, in ASCEND_TOOLKIT_HOME and in "
        "/usr/local/Ascend",
        hint="install CANN's toolkit from its vendor and source its set_env.sh; no package on PyPI has it",
    )


def find_cann_version() -> str:
    """Return CANN's version as its version.cfg says, or that it is not known."""
    for home in _list_homes(os.environ):
        config = home / "version.cfg"
        if config.is_file():
            match = re.search(r"\[[^\]]*:([^\]:]+)\]", config.read_text(encoding="utf-8", errors="replace"))
            if match:
                return f"CANN {match.group(1)}"
    return "CANN, version unknown" if shutil.which("atc") else "CANN not found"


def _list_homes(environment: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(environment[name]) for name in HOME_VARIABLES if environment.get(name))
    on_path = shutil.which("atc")
    if on_path:
        yield Path(on_path).parent.parent
    yield from INSTALLED_AT


def find_chips() -> list[str]:
    """Return the chips that npu-smi lists, each by the name that atc takes; none without npu-smi."""
    chips = []
    for number, name, _ in _CHIP_ROW.findall(_ask_npu_smi("info")):
        soc_version = name if name.startswith("Ascend") else f"Ascend{name}"
        chips.append(_ask_board(number) or soc_version if soc_version == "Ascend910" else soc_version)
    return chips


def _ask_board(number: str) -> str:
    """Return the full name of a chip whose table row says only `Ascend910`: two fields of the board's."""
    fields = dict(_BOARD_FIELD.findall(_ask_npu_smi("info", "-t", "board", "-i", number, "-c", "0")))
    if len(fields) < 2:
        return ""
    return f"{fields['Chip Name']}_{fields['NPU Name']}"


def _ask_npu_smi(*arguments: str) -> str:
    npu_smi = shutil.which("npu-smi")
    if npu_smi is None:
        return ""
    try:
        done = subprocess.run(
            [npu_smi, *arguments], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs has no chip to offer
        return ""
    return done.stdout if done.returncode == 0 else ""


def choose_soc_version(asked: str) -> str:
    """Return the chip to compile for: the one asked for, else the one that is in this machine.

    Raises:
        UsageError: None was asked for and there is no chip, or chips of several kinds; or the name is one of
            atc's in another case.
    """
    if asked:
        known = {name.casefold(): name for name in SOC_VERSIONS}
        right = known.get(asked.casefold(), asked)
        if right != asked:
            raise UsageError(f"--soc-version {asked}: atc tells upper from lower case", hint=f"write {right}")
        return asked
    kinds = sorted(set(find_chips()))
    if len(kinds) == 1:
        return kinds[0]
    found = f"chips of several kinds: {', '.join(kinds)}" if kinds else "no chip: npu-smi lists none"
    raise UsageError(
        f"which chip to compile for is not known; this machine has {found}",
        hint="say it with --soc-version, such as Ascend310, Ascend310P3 or Ascend310B4",
    )
