"""What a compiled model costs before it is fast: time to load, the first call, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from assay.arrays import Batch
from assay.engines.arrays import as_session_input
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import Session

STATUS_FILE = Path("/proc/self/status")
CLEAR_FILE = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): the peak of resident memory is counted from now on


class LoadCost(msgspec.Struct, frozen=True, kw_only=True):
    """What loading a compiled model cost in this process; memory is the resident memory of the process.

    `load_ms` goes from the call of `load` to the session, the check of the files' hashes included.
    `first_call_ms` is one call of `first_call_batch_size` images by one caller, before any warm-up.
    Memory is None where the system does not tell. `peak_memory_bytes` is from before loading to the end of
    the measurement; where the system does not let its count begin anew, from the start of the process.
    """

    engine: str
    device: str
    precision: str
    load_ms: float
    first_call_ms: float
    first_call_batch_size: int
    memory_before_bytes: int | None
    memory_loaded_bytes: int | None
    peak_memory_bytes: int | None = None


def load_timed(
    load: Callable[[], Session], images: Batch, compiled: CompiledModel
) -> tuple[Session, LoadCost]:
    """A session, after its first call, and what that cost; the peak of memory is still open.

    Args:
        load: Returns the session.
        images: The first call's, made of pixels by the model's preprocessing.
        compiled: What is loaded.
    """
    _reset_peak()
    before = read_memory("VmRSS")
    start = time.perf_counter()
    session = load()
    loaded = time.perf_counter()
    memory_loaded = read_memory("VmRSS")
    batch = as_session_input(images, session, compiled.model)
    begin = time.perf_counter()
    try:
        session.run(batch)
    except BaseException:
        session.close()
        raise
    first_call_ms = 1000 * (time.perf_counter() - begin)
    return session, LoadCost(
        engine=compiled.engine,
        device=compiled.device,
        precision=compiled.precision,
        load_ms=1000 * (loaded - start),
        first_call_ms=first_call_ms,
        first_call_batch_size=len(images),
        memory_before_bytes=before,
        memory_loaded_bytes=memory_loaded,
    )


def close_cost(cost: LoadCost) -> LoadCost:
    """The cost with the peak of memory until now."""
    return msgspec.structs.replace(cost, peak_memory_bytes=read_memory("VmHWM"))


def read_memory(field: str, path: Path = STATUS_FILE) -> int | None:
    """The process's memory in bytes, `VmRSS` (resident now) or `VmHWM` (its peak); None if not told.

    Args:
        field: Of proc(5)'s status file.
        path: That file.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(found[0]) if found else None


def _reset_peak() -> None:
    try:
        CLEAR_FILE.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return  # then the peak is from the start of the process, as LoadCost says
