"""The other end of a worker: a process that is asked, and ended with all that it started."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from assay.errors import EngineError, shorten
from assay.workflows.devices.choose import Device

_PATIENCE_S = 10.0


class DeviceProcess:
    """A process for one device; as a context it ends with the block, at once where that raises.

    It has a group of its own, so that Ctrl-C reaches this process alone, which ends it.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._is_asked = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "assay.workflows.devices.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if kind is None and not self._is_asked:
            self._end_well()
        self.kill()
        self._said.close()

    def ask(self, request: object) -> Any:
        """Send a request and wait for its answer; the first is a `worker.MakeAnswerer`.

        Raises:
            AssayError: The worker's.
            EngineError: The process is gone; how it ended, and what it said last, is in the message.
            OSError: The worker's, such as a full disk.
            TypeError: The request cannot be pickled.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        message = pickle.dumps(request)
        self._is_asked = True
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise EngineError(f"its process {self._describe_end()}") from error
        self._is_asked = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        """End the process, and those it has started, also where it has ended already."""
        with suppress(ProcessLookupError, PermissionError):  # none is left
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not sent any more
                    stream.close()

    def _end_well(self) -> None:
        """Let the process close its device; it has until then some seconds."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pickle.dumps(None))
            self._process.stdin.flush()
            self._process.wait(_PATIENCE_S)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return  # it is killed

    def _describe_end(self) -> str:
        """How the process ended, and the last line that it said."""
        try:
            status = self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return "answers no more"
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{how}: {shorten(last)}" if last else how
