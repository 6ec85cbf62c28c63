"""Which engines can run here: what is installed, and which of their devices this machine has."""

from __future__ import annotations

from assay.engines.catalog import ENGINES, find_engine
from assay.errors import MissingRuntimeError
from assay.report.tables.engines import EngineStatus


def list_engines() -> list[EngineStatus]:
    """The status of every engine, the default one first."""
    return [_examine_engine(name) for name in ENGINES]


def _examine_engine(name: str) -> EngineStatus:
    try:
        engine = find_engine(name)
    except MissingRuntimeError as error:
        return EngineStatus(name=name, how_to_get=ENGINES[name].how_to_get, problem=str(error))
    return EngineStatus(
        name=name,
        version=engine.version,
        devices=engine.devices,
        devices_here=engine.find_devices(),
        proven_devices=engine.proven_devices,
        precisions=engine.precisions,
        settings=dict(engine.settings),
        how_to_get=ENGINES[name].how_to_get,
    )
