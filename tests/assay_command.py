"""The command line as tests call it: in this process, where runtimes are imported once, or in its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO
from unittest.mock import patch

from assay.command_line.app import main

RunAssay = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT_REPEATS = {"ASSAY_RUN_SECONDS": "0.1", "ASSAY_BENCHMARK_SECONDS": "0.1"}
STDOUT, STDERR = 1, 2


def run_here(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The real command line, called in this process; what runtimes write past Python is captured too."""
    command = list(map(str, arguments))
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        with (
            _as_a_process_has_it(command, cwd, env or {}),
            _capture(STDOUT, stdout) as out,
            _capture(STDERR, stderr) as err,
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = main(command)
        return subprocess.CompletedProcess(command, status, _read(stdout), _read(stderr))


@contextmanager
def _as_a_process_has_it(command: list[str], cwd: Path | None, env: Mapping[str, str]) -> Iterator[None]:
    """Arguments, folder, variables, stdin and warnings are those of a process; they are put back after."""
    with (
        chdir(cwd or Path.cwd()),
        patch.dict(os.environ, {**SHORT_REPEATS, **env}),
        patch.object(sys, "argv", ["assay", *command]),
        Path(os.devnull).open(encoding="utf-8") as stdin,
        patch.object(sys, "stdin", stdin),
        warnings.catch_warnings(),
    ):
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)  # as Python does by default
        yield


@contextmanager
def _capture(number: int, file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    """Let the file be what has that number, and give a text stream to it."""
    before = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        with open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as stream:
            yield stream
    finally:
        os.dup2(before, number)
        os.close(before)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8").replace("\r\n", "\n")


def run_in_its_own_process(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same, started as a user starts it: for what only a process shows."""
    return subprocess.run(
        [sys.executable, "-m", "assay", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **SHORT_REPEATS, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
