"""The classes that checkpoints hold beside tensors, each read as a placeholder that holds nothing."""

from __future__ import annotations

import argparse
import datetime
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Harmless = Callable[..., object] | tuple[Callable[..., object], str]

# numpy 1 called its inner modules otherwise; files of both are read
_NUMPY_MODULES = ("numpy._core.multiarray", "numpy.core.multiarray")
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
_BUILTINS = ("frozenset", "range", "slice", "dict", "list", "int", "float")  # some make a defaultdict


class Placeholder:
    """Stands for a value that is not read: whatever it is made of is dropped, so that nothing can grow."""

    def __new__(cls, *_: object, **__: object) -> Placeholder:
        """A placeholder, of any arguments."""
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def list_harmless() -> list[Harmless]:
    """List what torch's safe loader may build beside what it knows, and by which name a pickle asks for it.

    Arguments of a training script, numbers and arrays of numpy, dates and paths: placeholders of them.
    """
    return [
        *((Placeholder, name) for name in _list_names()),
        (_make_plain_dict, "collections.defaultdict"),  # torch fills plain dicts alone
    ]


def list_harmless_names() -> set[str]:
    """List the dotted names by which a pickle asks for them, and for what torch reads itself."""
    own = ("collections.Counter", "_codecs.encode", "builtins.set", "__builtin__.set", "builtins.complex")
    return {*own, "__builtin__.complex", "collections.defaultdict", *_list_names()}


def _list_names() -> Iterator[str]:
    yield from (*_list_plain(), *_list_numpy(), *_list_paths())


def _list_plain() -> Iterator[str]:
    for kind in (argparse.Namespace, types.SimpleNamespace):
        yield f"{kind.__module__}.{kind.__qualname__}"
    for name in ("date", "datetime", "time", "timedelta", "timezone"):
        yield f"{datetime.__name__}.{name}"
    for name in _BUILTINS:
        yield f"builtins.{name}"
        yield f"__builtin__.{name}"  # as pickles up to protocol 2 say


def _make_plain_dict(*_: object) -> dict[object, object]:
    return {}


def _list_numpy() -> Iterator[str]:
    kinds = {type(np.dtype(code)) for code in (*"?bhilqBHILQefdFDSU", "M8[s]", "m8[s]")}
    yield from ("numpy.dtype", "numpy.ndarray")
    yield from (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    scalar = _get_function(np.float64(0).__reduce__())
    rebuild = _get_function(np.zeros(0).__reduce__())
    for module in _NUMPY_MODULES:
        yield from (f"{module}.{function.__name__}" for function in (scalar, rebuild))


def _get_function(reduced: str | tuple[Any, ...]) -> Callable[..., object]:
    """What a pickle calls to build an object, of the object's own description."""
    function: Callable[..., object] = reduced[0]  # type: ignore[assignment]  # numpy's are tuples
    return function


def _list_paths() -> Iterator[str]:
    for module in ("pathlib", "pathlib._local"):  # the latter in files of Python 3.13
        yield from (f"{module}.{name}" for name in _PATHS)
