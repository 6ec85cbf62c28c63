"""Engines that other distributions bring, by the entry points of the group `assay.engines`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from assay.engines.engine import Engine
from assay.errors import MissingRuntimeError, shorten

GROUP = "assay.engines"
_OWN = "assay."
_LISTS = ("precisions", "devices", "proven_devices")
_METHODS = ("find_devices", "resolve", "compile", "load")


class BrokenEngineError(MissingRuntimeError):
    """An engine from outside cannot be used; the others can.

    Args:
        points: Its entry points.
        reason: Why.
    """

    def __init__(self, points: list[EntryPoint], reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"engine {points[0].name} of {name_distributions(points)} cannot be used: {reason}",
            hint="the other engines can; what an engine must have: docs/how-to/add-an-engine.md",
        )


def list_outside(name: str | None = None) -> dict[str, list[EntryPoint]]:
    """The entry points of engines from outside by their names, in order; of one name, or all."""
    found: dict[str, list[EntryPoint]] = {}
    points = entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        found.setdefault(point.name, []).append(point)
    return found


def name_distributions(points: list[EntryPoint]) -> str:
    """The distributions that bring them, each with its version, such as `assay-mnn 0.1.0`."""
    names = {f"{point.dist.name} {point.dist.version}" if point.dist else "unknown" for point in points}
    return " and ".join(sorted(names))


def load_outside(points: list[EntryPoint]) -> Engine:
    """The engine of entry points of one name.

    Raises:
        MissingRuntimeError: There are several, it cannot be imported or made, or it is no engine.
    """
    if len(points) > 1:
        raise BrokenEngineError(points, "an engine of that name is brought twice: uninstall one of them")
    try:
        engine: Engine = points[0].load()()
        faults = "; ".join(_find_faults(engine, points[0].name))
    except (Exception, SystemExit) as error:  # whatever another's package does as it is imported
        raise BrokenEngineError(points, f"{type(error).__name__}: {shorten(error)}") from error
    if faults:
        raise BrokenEngineError(points, faults)
    return engine


def describe_version(engine: Engine) -> str:
    """The runtime's version; of an engine from outside with the distribution that brings it, and its version.

    Both decide what a compiled model is, and what an engine from outside answers.
    """
    if type(engine).__module__.startswith(_OWN):
        return engine.version
    points = list_outside(engine.name).get(engine.name, [])
    return f"{engine.version}, by {name_distributions(points)}" if points else engine.version


def _find_faults(engine: Engine, name: str) -> Iterator[str]:
    """What is missing to an engine; reading its attributes may raise anything."""
    absent = [
        each for each in ("name", "source", "version", "batch_sizes", "settings") if not hasattr(engine, each)
    ]
    absent += [each for each in _METHODS if not callable(getattr(engine, each, None))]
    absent += [each for each in _LISTS if not isinstance(getattr(engine, each, None), tuple)]
    if absent:
        yield f"{type(engine).__name__} has no {', no '.join(absent)}"
        return
    if engine.name != name:
        yield f"it calls itself {shorten(engine.name, 40)}"
    if engine.source not in ("ONNX file", "checkpoint"):
        yield f"its source is {shorten(engine.source, 40)}, expected ONNX file or checkpoint"
    if not (engine.precisions and engine.devices):
        yield "it has no precision, or no device"
