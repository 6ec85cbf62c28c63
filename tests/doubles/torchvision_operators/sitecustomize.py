"""Lets torchvision from PyPI be imported beside a torch build that its compiled operators do not fit.

Its operators are of detection networks, which classification does not use; undeclared, they stop the import.
With this folder on PYTHONPATH every Python process declares them, without an implementation, when torchvision
is first imported. Where torchvision's own operators load, nothing is done.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

OPERATORS = ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor")
_kept: list[Any] = []  # torch forgets operators with the library that declared them


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Declares the operators, steps aside, and lets the next finder find torchvision."""

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare_operators()
        return None


def declare_operators() -> None:
    """Declare the operators that torchvision's import asks for, where its compiled ones do not load."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for library in Path(folders[0]).glob("_C.*") if folders else ():
        try:
            ctypes.CDLL(str(library))
        except OSError:
            continue
        return
    _kept.append(torch.library.Library("torchvision", "DEF"))
    for operator in OPERATORS:
        _kept[0].define(operator)


if not any(type(finder).__name__ == "BeforeTorchvision" for finder in sys.meta_path):  # else run twice
    sys.meta_path.insert(0, BeforeTorchvision())
