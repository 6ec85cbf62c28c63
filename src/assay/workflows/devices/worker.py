"""A process that answers requests one after another: `python -m assay.workflows.devices.worker`.

Its first request makes what answers the others. It ends when it is asked to, and with all that it has
started as soon as the process that asks is gone, however that ended.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, Protocol

from assay.errors import AssayError
from assay.interrupts import EXIT_INTERRUPTED

SIGN_OF_LIFE = ...
"""What a worker sends before its answer, where that takes long."""


class Answerer(Protocol):
    """What answers requests."""

    def answer(self, request: object, show_life: Callable[[], None], /) -> object:
        """Carry a request out; both can be pickled. `show_life` is called now and then in a long one."""

    def close(self) -> None:
        """Free what it holds."""


MakeAnswerer = Callable[[], tuple[Answerer, object]]
"""The first request: makes what answers the others, and the answer to this one."""


def main() -> int:
    """Answer what comes on stdin until that is None, and return the exit status."""
    requests, answers = _take_streams()
    inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox), name="requests", daemon=True).start()
    answerer: Answerer | None = None

    def send(content: object) -> None:
        pickle.dump(content, answers)
        answers.flush()

    def carry_out(message: bytes) -> object:
        nonlocal answerer
        request = pickle.loads(message)
        if answerer is not None:
            return answerer.answer(request, lambda: send(SIGN_OF_LIFE))
        answerer, first = request()  # MakeAnswerer
        return first

    try:
        while (message := inbox.get()) is not None:
            send(_try(carry_out, message))
    finally:
        if answerer is not None:
            answerer.close()
    return 0


def _try(carry_out: Callable[[bytes], object], message: bytes) -> object:
    """The answer to a pickled request, or the error that it ended with."""
    try:
        return carry_out(message)
    except (AssayError, OSError, MemoryError) as error:
        return error
    except Exception:  # noqa: BLE001 - a bug, which the process that asked shows as its own
        return RuntimeError(traceback.format_exc())


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Streams of requests and answers that nothing else in this process reads or writes."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # runtimes print
    return requests, answers


def _receive(requests: BinaryIO, inbox: queue.SimpleQueue[bytes | None]) -> None:
    """Pass pickled requests on; end this process, and those it has started, where the other one is gone."""
    try:
        while (message := pickle.load(requests)) is not None:
            inbox.put(message)
    except (EOFError, OSError, pickle.UnpicklingError):
        if os.name == "posix":
            os.killpg(0, signal.SIGKILL)  # it leads a group of its own
        os._exit(EXIT_INTERRUPTED)
    inbox.put(None)


if __name__ == "__main__":
    sys.exit(main())
