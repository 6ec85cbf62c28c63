"""The other end of a worker: a process that is asked, and ended with all that it started."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from assay.errors import EngineError, shorten
from assay.workflows.devices.choose import Device
from assay.workflows.devices.worker import SIGN_OF_LIFE

_ENDS_WITHIN_S = 10.0


class DeviceProcess:
    """A process for one device; as a context it ends with the block, at once where that raises.

    It has a group of its own, so that Ctrl-C reaches this process alone, which ends it. It is written to and
    read from in threads that nobody waits for: a device that hangs may hold its process even against SIGKILL.

    Args:
        device: Its name is in no message: who asks names it.
        timeout_s: How long it may be silent while it is asked something.
    """

    def __init__(self, device: Device, timeout_s: float) -> None:
        self.device = device
        self._timeout_s = timeout_s
        self._is_asked = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "assay.workflows.devices.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        assert self._process.stdout is not None
        _start_thread(_receive, self._process.stdout, self._answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if kind is None and not self._is_asked:
            self._end_well()
        self.kill()
        self._said.close()

    def ask(self, request: object, more_s: float = 0.0) -> Any:
        """Send a request and wait for its answer; the first is a `worker.MakeAnswerer`.

        Args:
            request: It can be pickled.
            more_s: How much longer than usual the process may be silent, since it is to be busy so long.

        Raises:
            AssayError: The worker's.
            EngineError: The process is gone, or was silent for too long, and is ended. How it ended, and
                what it said last, is in the message.
            OSError: The worker's, such as a full disk.
            TypeError: The request cannot be pickled.
        """
        assert self._process.stdin is not None
        message = pickle.dumps(pickle.dumps(request))  # an error in unpickling it is an answer
        self._is_asked = True
        _start_thread(_send, self._process.stdin, message)
        answer: object = SIGN_OF_LIFE
        while answer is SIGN_OF_LIFE:
            try:
                answer = self._answers.get(timeout=self._timeout_s + more_s)
            except queue.Empty:
                self.kill()
                raise EngineError(
                    f"has not answered for {self._timeout_s + more_s:g} s (--device-timeout), and was ended"
                ) from None
        if isinstance(answer, _Gone):
            raise EngineError(f"its process {self._describe_end()}") from answer.error
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
        self._answers.put(_Gone())  # who waits for it waits no longer
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return  # its driver holds it, and its threads here; it ends when that lets it go
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not sent any more
                    stream.close()

    def _end_well(self) -> None:
        """Let the process close its device; it has until then some seconds."""
        assert self._process.stdin is not None
        _start_thread(_send, self._process.stdin, pickle.dumps(None))
        with suppress(subprocess.TimeoutExpired):  # it is killed
            self._process.wait(_ENDS_WITHIN_S)

    def _describe_end(self) -> str:
        """How the process ended, and the last line that it said."""
        try:
            status = self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "answers no more"
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{how}: {shorten(last)}" if last else how


class _Gone:
    """Comes in place of an answer where there will be none."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def _start_thread(run: Any, *arguments: object) -> None:
    threading.Thread(target=run, args=arguments, name="device", daemon=True).start()


def _send(stream: IO[bytes], message: bytes) -> None:
    """Send a message; where the process is gone, `_receive` tells."""
    with suppress(OSError, ValueError):
        stream.write(message)
        stream.flush()


def _receive(stream: IO[bytes], answers: queue.SimpleQueue[object]) -> None:
    """Pass on what the process sends, until it is gone."""
    try:
        while True:
            answers.put(pickle.load(stream))
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for more
        answers.put(_Gone(error))
