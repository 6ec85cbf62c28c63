"""What `assay engines` says: which engines can run here, on what, and how to get the others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from assay.report.tables.table import Table

NOT_INSTALLED = "not installed"
BROKEN = "broken"
OWN = "assay"


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do here; `problem` says why it cannot be used at all, mostly empty.

    `devices_here` are those of its devices that this machine has, each with its own name. `proven_devices`
    are those that assay has run on for real; the others are built to their documentation. `distribution` is
    what brings the engine: `assay`, or another with its version.
    """

    name: str
    distribution: str
    version: str = ""
    devices: tuple[str, ...] = ()
    devices_here: dict[str, str] = {}
    proven_devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    how_to_get: str
    problem: str = ""


def make_engine_tables(engines: Sequence[EngineStatus]) -> list[str | Table]:
    """A table of the engines' settings, one of the engines, and a line for each that cannot be used.

    A terminal shows the end: what runs here.
    """
    rows = tuple(_make_row(engine) for engine in engines)
    header = ("Engine", "Version", "Devices", "here", "run for real", "Precisions")
    settings = tuple(
        (engine.name, name, meaning) for engine in engines for name, meaning in engine.settings.items()
    )
    notes = (
        "here: the devices that this machine has; run for real: those that assay was run on by its makers. "
        "The others are built to their documentation and tested against doubles, not on the chip.",
        *(f"{engine.name}: {engine.how_to_get}" for engine in engines),
    )
    return [
        Table(title="Settings", header=("Engine", "--set", "Meaning"), rows=settings, is_text=True),
        Table(title="Engines", header=header, rows=rows, notes=notes, is_text=True),
        *(_describe_problem(engine) for engine in engines if engine.problem),
    ]


def _describe_problem(engine: EngineStatus) -> str:
    of = "" if engine.distribution == OWN else f" of {engine.distribution}"
    return f"{engine.name}{of} cannot be used: {engine.problem}"


def _make_row(engine: EngineStatus) -> tuple[str, ...]:
    if engine.problem:
        return (engine.name, NOT_INSTALLED if engine.distribution == OWN else BROKEN, "", "", "", "")
    return (
        engine.name,
        engine.version.partition("-")[0],
        ", ".join(engine.devices),
        ", ".join(engine.devices_here) or "none",
        ", ".join(engine.proven_devices) or "none",
        ", ".join(engine.precisions),
    )
