"""`--devices`: which devices of this machine compute a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.engines.catalog import find_engine
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.engine import NumberedEngine
from assay.errors import MissingRuntimeError, UsageError, quote

ALL = "all"
MAX_DEVICES = 256
_ITEM = re.compile(r"(?:([A-Za-z]+):)?([0-9]{1,6})(?:-([0-9]{1,6}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Device:
    """One of several devices of a kind.

    Args:
        kind: What the engine calls them, such as `cuda` or `npu`.
        number: From 0.
    """

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


def choose_devices(text: str, compiled_dir: Path) -> tuple[Device, ...]:
    """The devices that `--devices` names, in its order.

    Args:
        text: Numbers and stretches of them, such as `0,2` or `cuda:0-7`; or `all`.
        compiled_dir: What will be run on them.

    Raises:
        UsageError: No such list; another kind of device than the model was compiled for, or one whose devices
            the engine does not tell apart; `all` where nobody tells how many there are.
        MissingRuntimeError: A device is not there.
        BadModelError: The compiled model cannot be used.
    """
    compiled = read_compiled_json(compiled_dir)
    kind = compiled.device.partition(":")[0]
    numbers = None if text == ALL else tuple(_read_numbers(text, kind))
    count = _count_devices(compiled, kind)
    if numbers is None:
        if count is None:
            raise UsageError(
                f"--devices {ALL}: engine {compiled.engine} does not tell how many {kind} this machine has",
                hint="give their numbers, such as 0-3",
            )
        numbers = tuple(range(count))
    if count is not None and (missing := [number for number in numbers if number >= count]):
        raise MissingRuntimeError(
            f"--devices: no {kind}:{missing[0]}; this machine has {_describe_numbers(kind, count)}",
            hint="choose among those, or give all",
        )
    return tuple(Device(kind=kind, number=number) for number in numbers)


def _count_devices(compiled: CompiledModel, kind: str) -> int | None:
    """How many devices of the kind are here; None where nobody tells."""
    engine = find_engine(compiled.engine)
    if not isinstance(engine, NumberedEngine) or (
        engine.count_devices(compiled) == 0 and kind.lower() == "cpu"
    ):
        raise UsageError(
            f"--devices: engine {compiled.engine} does not tell several {kind} apart",
            hint="leave --devices out; --shard I/N shares a run among processes of any kind",
        )
    return engine.count_devices(compiled)


def _read_numbers(text: str, kind: str) -> Iterator[int]:
    seen: set[int] = set()
    for item in text.split(","):
        found = _ITEM.fullmatch(item.strip())
        first, last = (int(found[2]), int(found[3] or found[2])) if found else (1, 0)
        if found is None or not first <= last < first + MAX_DEVICES:
            raise UsageError(
                f"--devices {quote(text)}: expected numbers such as 0,1,2,3 or {kind}:0-7, or {ALL}"
            )
        if found[1] and found[1].casefold() != kind.casefold():
            raise UsageError(
                f"--devices {quote(text)}: the model was compiled for {kind}",
                hint=f"name devices of that kind, such as {kind}:0-3, or compile it for {found[1]}",
            )
        numbers = range(first, last + 1)
        if twice := seen.intersection(numbers):
            raise UsageError(f"--devices {quote(text)}: {kind}:{min(twice)} is named twice")
        seen.update(numbers)
        yield from numbers


def _describe_numbers(kind: str, count: int) -> str:
    if count < 2:
        return f"{kind}:0 alone" if count else "none"
    return f"{kind}:0 to {kind}:{count - 1}"
