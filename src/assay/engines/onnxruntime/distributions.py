"""Which distributions of ONNX Runtime are installed: each overwrites the others' files."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

from assay.errors import MissingRuntimeError, shorten

DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-cann",
    "onnxruntime-qnn",
)


def list_distributions() -> list[str]:
    """Return the distributions that are installed here."""
    return [name for name in DISTRIBUTIONS if _is_installed(name)]


def find_distribution() -> str:
    """Return the one that is installed; just `onnxruntime` where it cannot be told."""
    return next(iter(list_distributions()), "onnxruntime")


def write_repair_commands(found: list[str]) -> str:
    """Return the commands that leave the last of `found` alone and whole."""
    return f"pip uninstall -y {' '.join(found)} && pip install {found[-1]}"


def import_onnxruntime() -> Any:
    """Return the module `onnxruntime`.

    Raises:
        ModuleNotFoundError: No distribution is installed.
        MissingRuntimeError: Two are, or the one there cannot be imported.
    """
    found = list_distributions()
    if len(found) > 1:
        raise MissingRuntimeError(
            f"ONNX Runtime is installed {len(found)} times, one over the other: {', '.join(found)}",
            hint=write_repair_commands(found),
        )
    try:
        module = importlib.import_module("onnxruntime")
        module.InferenceSession  # noqa: B018 - of a removed distribution an empty package stays
    except ModuleNotFoundError:
        raise
    except (ImportError, AttributeError) as error:
        needs = "; onnxruntime-cann needs numpy<2" if "onnxruntime-cann" in found else ""
        raise MissingRuntimeError(
            f"{found[0] if found else 'onnxruntime'} is damaged, or does not fit: {shorten(error)}{needs}",
            hint=write_repair_commands(found or ["onnxruntime"]),
        ) from error
    return module


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
