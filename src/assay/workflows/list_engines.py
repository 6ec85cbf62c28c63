"""Which engines can run here: what is installed, and which of their devices this machine has."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from assay.engines.catalog import COMPOSED, ENGINES, find_engine
from assay.engines.engine import Engine
from assay.engines.outside import BrokenEngineError, list_outside, load_outside, name_distributions
from assay.errors import MissingRuntimeError, shorten
from assay.report.tables.engines import OWN, EngineStatus


def list_engines() -> list[EngineStatus]:
    """The status of every engine: the default one first, those from outside last."""
    return [
        *map(_examine_own, ENGINES),
        *(_examine_outside(name, points) for name, points in list_outside().items()),
    ]


def _examine_own(name: str) -> EngineStatus:
    try:
        return _describe(find_engine(name), OWN, ENGINES[name].how_to_get)
    except MissingRuntimeError as error:
        how_to_get = ENGINES[name].how_to_get
        return EngineStatus(name=name, distribution=OWN, how_to_get=how_to_get, problem=str(error))


def _examine_outside(name: str, points: list[EntryPoint]) -> EngineStatus:
    """The status of an engine that others bring; whatever it does, the rest is listed."""
    distribution = name_distributions(points)
    how_to_get = f"comes with {distribution}"
    problem = "one of assay's own has that name, and is the one that is used"
    try:
        if name not in ENGINES | COMPOSED:
            return _describe(load_outside(points), distribution, how_to_get)
    except BrokenEngineError as error:
        problem = error.reason
    except Exception as error:  # noqa: BLE001 - another's code looks for devices
        problem = f"{type(error).__name__}: {shorten(error)}"
    return EngineStatus(name=name, distribution=distribution, how_to_get=how_to_get, problem=problem)


def _describe(engine: Engine, distribution: str, how_to_get: str) -> EngineStatus:
    return EngineStatus(
        name=engine.name,
        distribution=distribution,
        version=str(engine.version),
        devices=tuple(map(str, engine.devices)),
        devices_here={str(device): str(called) for device, called in engine.find_devices().items()},
        proven_devices=tuple(map(str, engine.proven_devices)),
        precisions=tuple(map(str, engine.precisions)),
        settings={str(setting): str(meaning) for setting, meaning in engine.settings.items()},
        how_to_get=how_to_get,
    )
