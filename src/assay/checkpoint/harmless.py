"""The classes that checkpoints hold beside tensors and that can be rebuilt without running code."""

from __future__ import annotations

import _codecs
import argparse
import collections
import datetime
import pathlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Harmless = Callable[..., object] | tuple[Callable[..., object], str]

# numpy 1 called its inner modules otherwise; files of both are read
_NUMPY_MODULES = ("numpy._core.multiarray", "numpy.core.multiarray")
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")


def list_harmless() -> list[Harmless]:
    """List what torch's safe loader may build: data without methods that do anything when they are made.

    Arguments of a training script, numbers and arrays of numpy, dates and paths; a path becomes a pure one,
    which touches no disk.
    """
    return [*_list_plain(), *_list_numpy(), *_list_paths()]


def list_harmless_names() -> set[str]:
    """List the dotted names by which a pickle asks for them."""
    return {
        one[1] if isinstance(one, tuple) else f"{one.__module__}.{one.__qualname__}"
        for one in list_harmless()
    }


def _list_plain() -> Iterator[Harmless]:
    yield from (argparse.Namespace, types.SimpleNamespace, collections.Counter)
    yield _make_plain_dict, "collections.defaultdict"  # torch fills plain dicts alone
    yield from (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone)
    for kind in (set, frozenset, complex, range, slice, dict, list, int, float):  # some make a defaultdict
        yield kind, f"builtins.{kind.__name__}"
        yield kind, f"__builtin__.{kind.__name__}"  # as pickles up to protocol 2 say
    yield _codecs.encode, "_codecs.encode"  # of the bytes of a numpy scalar


def _make_plain_dict(*_: object) -> dict[object, object]:
    return {}


def _list_numpy() -> Iterator[Harmless]:
    yield from (np.dtype, np.ndarray)
    yield from {type(np.dtype(code)) for code in (*"?bhilqBHILQefdFDSU", "M8[s]", "m8[s]")}
    scalar = _get_function(np.float64(0).__reduce__())
    rebuild = _get_function(np.zeros(0).__reduce__())
    for module in _NUMPY_MODULES:
        yield scalar, f"{module}.scalar"
        yield rebuild, f"{module}._reconstruct"


def _get_function(reduced: str | tuple[Any, ...]) -> Callable[..., object]:
    """What a pickle calls to build an object, of the object's own description."""
    function: Callable[..., object] = reduced[0]  # type: ignore[assignment]  # numpy's are tuples
    return function


def _list_paths() -> Iterator[Harmless]:
    for module in ("pathlib", "pathlib._local"):  # the latter in files of Python 3.13
        for name in _PATHS:
            pure = pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
            yield pure, f"{module}.{name}"
