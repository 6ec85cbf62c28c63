"""`--devices`: which devices of this machine compute a run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.defaults import DEVICE_TIMEOUT_S
from assay.engines.cascade.record import CASCADE, EXACT_FOLDER, FAST_FOLDER
from assay.engines.catalog import find_numbered
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileOptions
from assay.engines.sources import recall_options
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


@dataclass(frozen=True, kw_only=True)
class DeviceGroup:
    """Several devices of this machine that run one model.

    Args:
        devices: At least one.
        timeout_s: A device counts as hanging where it takes longer to load the model, or for one batch.
    """

    devices: tuple[Device, ...]
    timeout_s: float = DEVICE_TIMEOUT_S


def choose_devices(text: str, compiled_dir: Path, timeout_s: float = DEVICE_TIMEOUT_S) -> DeviceGroup:
    """The devices that `--devices` names for a compiled model; see `choose_devices_for`.

    Raises:
        BadModelError: The compiled model cannot be used.
    """
    compiled = read_compiled_json(compiled_dir)
    if compiled.engine != CASCADE:
        return choose_devices_for(text, [recall_options(compiled)], timeout_s)
    parts = [read_compiled_json(compiled_dir / folder) for folder in (FAST_FOLDER, EXACT_FOLDER)]
    group = choose_devices_for(text, list(map(recall_options, parts)), timeout_s)
    if not compiled.takes_pixels and any(part.takes_pixels for part in parts):
        raise UsageError(
            "--devices: one model of this cascade takes pixels, the other images",
            hint="leave --devices out, or make the cascade of two models that take the same",
        )
    return group


def choose_devices_for(
    text: str, models: Sequence[CompileOptions], timeout_s: float = DEVICE_TIMEOUT_S
) -> DeviceGroup:
    """The devices that `--devices` names, in its order.

    Args:
        text: Numbers and stretches of them, such as `0,2` or `cuda:0-7`; or `all`.
        models: What will be run on them: one model, or both of a cascade, of which one may run on something
            else, such as the processor.
        timeout_s: See `DeviceGroup`.

    Raises:
        UsageError: No such list; another kind of device than the model was compiled for, or one whose devices
            the engine does not tell apart; `all` where nobody tells how many there are; a time that is not
            above 0.
        MissingRuntimeError: A device is not there.
    """
    if not 0 < timeout_s < math.inf:
        raise UsageError(f"--device-timeout is {timeout_s:g}; expected a number of seconds above 0")
    kind, count = _count_devices(models)
    numbers = range(count or 0) if text == ALL else tuple(_read_numbers(text, kind))
    if text == ALL and count is None:
        raise UsageError(
            f"--devices {ALL}: engine {models[0].engine} does not tell how many {kind} this machine has",
            hint="give their numbers, such as 0-3",
        )
    if count is not None and (missing := [number for number in numbers or (0,) if number >= count]):
        raise MissingRuntimeError(
            f"--devices: no {kind}:{missing[0]}; this machine has {_describe_numbers(kind, count)}",
            hint="choose among those, or give all",
        )
    devices = tuple(Device(kind=kind, number=number) for number in numbers)
    return DeviceGroup(devices=devices, timeout_s=timeout_s)


def _count_devices(models: Sequence[CompileOptions]) -> tuple[str, int | None]:
    """The kind of device that all numbered models run on, and how many are here; None where nobody tells."""
    found: dict[str, list[int | None]] = {}
    for model in models:
        if engine := find_numbered(model):
            found.setdefault(model.device.partition(":")[0], []).append(engine.count_devices(model))
    if not found:
        names = " and ".join(
            f"engine {model.engine} does not tell several {model.device} apart" for model in models
        )
        raise UsageError(
            f"--devices: {names}",
            hint="leave --devices out; --shard I/N shares a run among processes of any kind",
        )
    if len(found) > 1:
        raise UsageError(
            f"--devices: one model of this cascade runs on {' and the other on '.join(found)}: a number does "
            "not say which",
            hint="leave --devices out; --shard I/N shares a run among processes of any kind",
        )
    ((kind, counts),) = found.items()
    return kind, min((count for count in counts if count is not None), default=None)


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
