"""The speed of a compiled model on several devices: each alone, then all at once; a process for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from assay.arrays import Images
from assay.engines.arrays import as_session_input
from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import Session
from assay.errors import AssayError
from assay.measure.speed.loading import LoadCost, close_cost, load_timed
from assay.measure.speed.repeats import LONGEST, BatchTimes, Repeat, RepeatMeter, RepeatPlan, tile_images
from assay.measure.speed.several_devices import SeveralDevicesRow, make_devices_row
from assay.measure.speed.throughput import SessionName, ThroughputRow, make_throughput_rows
from assay.runs.listener import Listener, Progress
from assay.workflows.devices.choose import Device, DeviceGroup
from assay.workflows.devices.process import DeviceProcess

TASK = "Measuring speed"


@dataclass(kw_only=True)
class SpeedMeter:
    """Measures the session of one device as it is asked; see `worker.Answerer`."""

    session: Session
    meter: RepeatMeter
    cost: LoadCost
    repeats: dict[int, list[Repeat]] = field(default_factory=dict)

    def answer(
        self, request: Literal["warm up", "times", "cost"] | int, _show_life: Callable[[], None]
    ) -> object:
        """Warm up; measure a repeat of a batch size; give all since the warm-up, or what loading cost."""
        if request == "warm up":
            self.repeats = {}
            self.meter.warm_up()
            return None
        if request == "times":
            return {size: self.meter.describe(size, repeats) for size, repeats in self.repeats.items()}
        if request == "cost":
            return close_cost(self.cost)
        repeat = self.meter.measure(request)
        self.repeats.setdefault(request, []).append(repeat)
        return repeat.images_per_second

    def close(self) -> None:
        """Free the device."""
        self.session.close()


def open_meter(
    compiled_dir: Path, device: Device, images: Images, plan: RepeatPlan
) -> tuple[SpeedMeter, None]:
    """Load the model on the device; see `worker.MakeAnswerer`."""
    compiled = read_compiled_json(compiled_dir)
    first = tile_images(images, min(plan.batch_sizes))
    session, cost = load_timed(lambda: load_for_evaluation(compiled_dir, device.number), first, compiled)
    meter = RepeatMeter(session, as_session_input(images, session, compiled.model), plan)
    cost = msgspec.structs.replace(cost, device=str(device))
    return SpeedMeter(session=session, meter=meter, cost=cost), None


@dataclass(frozen=True, kw_only=True)
class DeviceSpeeds:
    """What was measured: rows of each device alone, a row of all at once for each batch size, loading."""

    rows: list[ThroughputRow]
    at_once: list[SeveralDevicesRow]
    loading: list[LoadCost]


def measure_devices(
    compiled_dir: Path, devices: DeviceGroup, images: Images, plan: RepeatPlan, listener: Listener
) -> DeviceSpeeds:
    """Measure a compiled model on each device while the others wait, and then on all at once.

    All load it first. At once, the repeats of a batch size begin together on all devices.

    Args:
        compiled_dir: The compiled model.
        devices: The devices.
        images: What it is measured on, float32 (N, 3, H, W).
        plan: Batch sizes, at least one; repeats, seconds, callers.
        listener: Hears how far it is.

    Raises:
        AssayError: A device failed; its name is in the message.
    """
    compiled = read_compiled_json(compiled_dir)
    total = len(plan.batch_sizes) * plan.repeats * (len(devices.devices) + 1)
    done = 0

    def report(who: str, size: int, rate: float) -> None:
        nonlocal done
        done += 1
        detail = f"{who}, batch {size}: {rate:.1f} images/s"
        listener.advance(Progress(task=TASK, unit="repeats", done=done, total=total, detail=detail))

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(devices.devices), "device"))
        processes = [
            stack.enter_context(DeviceProcess(device, devices.timeout_s)) for device in devices.devices
        ]
        longest_s = LONGEST * plan.seconds * len(plan.batch_sizes)
        group = _Group(pool=pool, processes=processes, busy_s=longest_s)
        listener.advance(Progress(task=TASK, unit="repeats", done=0, total=total))
        group.ask(lambda process: partial(open_meter, compiled_dir.absolute(), process.device, images, plan))
        alone = {
            str(process.device): _measure(replace(group, processes=[process]), plan, report)[0]
            for process in group.processes
        }
        at_once = dict(zip(alone, _measure(group, plan, report), strict=True))
        loading = group.ask(lambda _process: "cost")
    rows = [
        row
        for name, times in alone.items()
        for row in make_throughput_rows(
            SessionName(
                engine=compiled.engine,
                device=name,
                precision=compiled.precision,
                card_devices=int(compiled.settings.get("card_devices", "1")),
            ),
            times,
        )
    ]
    together = [
        make_devices_row(
            compiled,
            {name: times[size] for name, times in alone.items()},
            {name: times[size] for name, times in at_once.items()},
            size,
        )
        for size in plan.batch_sizes
    ]
    return DeviceSpeeds(rows=rows, at_once=together, loading=loading)


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Processes that are asked at once; none is busy with one for longer than `busy_s` seconds."""

    pool: ThreadPoolExecutor
    processes: Sequence[DeviceProcess]
    busy_s: float

    def ask(self, make_request: Callable[[DeviceProcess], object]) -> list[Any]:
        """Ask each, and wait for all; gives their answers in order."""
        asked = [
            (process, self.pool.submit(process.ask, make_request(process), self.busy_s))
            for process in self.processes
        ]
        answers = []
        for process, future in asked:
            try:
                answers.append(future.result())
            except AssayError as error:
                raise type(error)(f"device {process.device}: {error.message}", hint=error.hint) from error
        return answers


def _measure(
    group: _Group, plan: RepeatPlan, report: Callable[[str, int, float], None]
) -> list[dict[int, BatchTimes]]:
    """The times of each process of a group by batch size, all of them measured at once."""
    who = str(group.processes[0].device) if len(group.processes) == 1 else "all at once"
    group.ask(lambda _process: "warm up")
    for _ in range(plan.repeats):
        for size in plan.batch_sizes:
            rates = group.ask(lambda _process, size=size: size)  # type: ignore[misc]  # bound now
            report(who, size, sum(rates))
    return group.ask(lambda _process: "times")
