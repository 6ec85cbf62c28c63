"""`python -m assay.engine_contract NAME`: holds an installed engine to the contract, whoever brings it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from assay.engines.catalog import find_engine
from assay.errors import AssayError, MissingRuntimeError, UsageError

_SUITE = Path(__file__).with_name("suite.py")
_NEEDED = ("pytest", "onnx", "torch")


def main(arguments: list[str]) -> int:
    """Run the suite for the engine that is named first, and return pytest's exit status.

    Args:
        arguments: The name; then `--device`, `--setting NAME=VALUE`, and options of pytest.
    """
    try:
        _check(arguments)
    except AssayError as error:
        sys.stderr.write(f"assay: {error}\n")
        return error.exit_status
    import pytest

    plugins = ["-p", "assay.engine_contract.plugin", "-p", "no:cacheprovider"]
    place = ["-c", os.devnull, "--rootdir", str(_SUITE.parent)]  # no settings of the folder it is called in
    return int(pytest.main([str(_SUITE), *plugins, *place, "--engine", *arguments]))


def _check(arguments: list[str]) -> None:
    """Refuse to run without an engine, or without what the suite needs.

    Raises:
        UsageError: No engine is named, or none has that name.
        MissingRuntimeError: A package is not installed, or the engine cannot be used.
    """
    if not arguments or arguments[0].startswith("-"):
        raise UsageError(
            "no engine is named",
            hint="python -m assay.engine_contract NAME [--device DEVICE] [--setting NAME=VALUE]",
        )
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingRuntimeError(
            f"the contract of engines needs {', '.join(missing)}",
            hint="pip install 'assay[export]' pytest",
        )
    find_engine(arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
