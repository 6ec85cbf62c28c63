"""What is said while a runtime says nothing."""

from __future__ import annotations

import threading

from assay.runs.listener import Listener, announce_wait


class Hearing(Listener):
    """Keeps the lines, and says when the first one came."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.has_heard = threading.Event()

    def announce(self, text: str) -> None:
        self.lines.append(text)
        self.has_heard.set()


def test_a_long_task_is_announced_from_another_thread_with_how_to_end_it() -> None:
    hearing = Hearing()
    with announce_wait(hearing, "compiling m.onnx", first_s=0.01):
        assert hearing.has_heard.wait(30)
    assert hearing.lines[0].startswith("Still compiling m.onnx, ")
    assert "Ctrl-C ends it" in hearing.lines[0]


def test_a_short_task_is_not_announced_and_its_thread_ends_with_it() -> None:
    hearing = Hearing()
    before = threading.active_count()
    with announce_wait(hearing, "compiling m.onnx", first_s=60):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert hearing.lines == []
