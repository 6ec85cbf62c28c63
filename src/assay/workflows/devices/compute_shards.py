"""The shards of a run that are missing, computed on several devices: a process for each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileOptions, Session, SessionDescription
from assay.errors import EngineError, MissingRuntimeError, SourceError
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.shards import Shard, write_shard
from assay.measure.accuracy.accuracy import count_topk_hits
from assay.measure.speed.pipeline_speed import PipelineSpeed
from assay.models.record import ModelRecord
from assay.processors import count_processors
from assay.runs.listener import Progress
from assay.runs.results_file import DeviceUse
from assay.workflows.devices.choose import Device, DeviceGroup, choose_devices_for
from assay.workflows.devices.process import DeviceProcess
from assay.workflows.evaluate.predict import (
    MAX_FAILED_SHARDS,
    MissingShards,
    ShardError,
    describe_running_top1,
    summarise_failures,
)

MAX_FAILED_DEVICES = 2


@dataclass(frozen=True, kw_only=True)
class DeviceWork:
    """What the process of a device is told before its first shard.

    Args:
        compiled_dir: The compiled model.
        number: Of the device.
        folder: Where shards go.
        fingerprint: Of the run.
        options: How images are streamed.
    """

    compiled_dir: Path
    number: int
    folder: Path
    fingerprint: str
    options: PipelineOptions


@dataclass(frozen=True, kw_only=True)
class ShardComputer:
    """Computes and writes shards by the session of one device; see `worker.Answerer`."""

    work: DeviceWork
    record: ModelRecord
    session: Session

    def answer(self, shard: Shard, show_life: Callable[[], None]) -> int:
        """Compute and write a shard; gives its Top-1 hits."""
        work = self.work
        stream = predict_shards(self.session, [shard], self.record, work.options, lambda _: show_life())
        ((_, predictions),) = stream
        keep_logits = work.options.keep_logits
        write_shard(work.folder / shard.file_name, predictions, work.fingerprint, keep_logits=keep_logits)
        return count_topk_hits(predictions, self.record.output.label_offset)[0]

    def close(self) -> None:
        """Free the device."""
        self.session.close()


def open_computer(work: DeviceWork) -> tuple[ShardComputer, SessionDescription]:
    """Load the model on the device; see `worker.MakeAnswerer`."""
    session = load_for_evaluation(work.compiled_dir, work.number)
    record = read_compiled_json(work.compiled_dir).model
    return ShardComputer(work=work, record=record, session=session), session.description


@dataclass(frozen=True, kw_only=True)
class SeveralDevices:
    """Computes shards on several devices of this machine.

    Args:
        group: The devices.
        uses: What each has done so far, by its name: one that failed is given nothing more, of no model.
    """

    group: DeviceGroup
    uses: dict[str, DeviceUse] = field(default_factory=dict)

    def compute_shards(self, missing: MissingShards) -> None:
        """Compute shards by a process for each device; those of one that fails are left to the others.

        Raises:
            UsageError: The images are held in a form that other processes cannot read.
            EngineError: A second device failed, or all; what was done is kept.
            SourceError: The place that holds images failed; other shards are kept. After three in a row, the
                rest is not tried.
        """
        missing.check_form("--devices")
        devices = self.find_usable().devices[: len(missing.shards)]
        names = ", ".join(map(str, devices))
        missing.run.announce(f"Shards to compute: {len(missing.shards):,}, on {names}")
        missing.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(len(devices), "device"))
            timeout_s = self.group.timeout_s
            processes = [stack.enter_context(DeviceProcess(device, timeout_s)) for device in devices]
            sharing = _Sharing(missing=missing, pool=pool, uses=self.uses)
            for process in processes:
                work = _make_work(missing, process.device, len(devices))
                opening = pool.submit(process.ask, partial(open_computer, work))
                sharing.running[opening] = (process, None)
            try:
                sharing.follow()
            finally:
                sharing.record()

    def find_usable(self) -> DeviceGroup:
        """Those that have not failed."""
        failed = {name for name, use in self.uses.items() if use.failure}
        return replace(self.group, devices=tuple(one for one in self.group.devices if str(one) not in failed))


def use_devices_for(model: CompileOptions, text: str, timeout_s: float) -> SeveralDevices | None:
    """The devices that were asked for, for a model that is yet to be compiled; None for its own.

    Raises:
        AssayError: As `choose_devices_for`.
    """
    return SeveralDevices(group=choose_devices_for(text, [model], timeout_s)) if text else None


def _make_work(missing: MissingShards, device: Device, device_count: int) -> DeviceWork:
    options, compiled_dir = missing.options, missing.predictor.compiled_dir
    assert compiled_dir is not None
    threads = options.decode_threads or max(1, count_processors() // device_count)
    return DeviceWork(
        compiled_dir=compiled_dir.absolute(),
        number=device.number,
        folder=missing.folder.absolute(),
        fingerprint=missing.fingerprint,
        options=replace(options, decode_threads=threads),
    )


@dataclass(kw_only=True)
class _Sharing:
    """Hands shards to processes, one at a time to each, and follows what comes of them."""

    missing: MissingShards
    pool: ThreadPoolExecutor
    uses: dict[str, DeviceUse]
    running: dict[Future[object], tuple[DeviceProcess, Shard | None]] = field(default_factory=dict)
    failed: dict[str, ShardError] = field(default_factory=dict)
    failed_in_a_row: int = 0
    hits: int = 0
    done: int = 0
    began: float | None = None

    def __post_init__(self) -> None:
        self.run, self.predictor = self.missing.run, self.missing.predictor
        self.waiting = deque(self.missing.shards)
        self.idle: list[DeviceProcess] = []
        self._tell()

    def follow(self) -> None:
        """Go on until no shard is to be computed any more; a device that still loads is not waited for."""
        while self.running and (self._has_more() or any(shard for _, shard in self.running.values())):
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                process, shard = self.running.pop(future)
                try:
                    answer = future.result()
                except SourceError as error:
                    self._leave_out(shard, error)
                except (EngineError, MissingRuntimeError) as error:
                    self._lose(process, shard, error)
                    continue
                else:
                    self._count(process, shard, answer)
                self.idle.append(process)
            while self.idle and self._has_more():
                process, shard = self.idle.pop(), self.waiting.popleft()
                self.running[self.pool.submit(process.ask, shard)] = (process, shard)
        self.run.record_failed_shards(self.failed)
        if self.failed:
            raise summarise_failures(self.failed, len(self.waiting))

    def record(self) -> None:
        """Record what each device did, and how fast all were where none failed."""
        self.run.record_devices(self.uses)
        images = self.run.manifest.image_set
        if self.began is None or not self.done or self.done < self.missing.image_count:
            return
        speed = PipelineSpeed(
            image_count=self.done,
            whole_count=images.image_count if images else self.done,
            seconds=time.perf_counter() - self.began,
            batch_size=self.missing.options.batch_size,
        )
        self.run.record_pipeline(self.predictor.name, speed)

    def _has_more(self) -> bool:
        return bool(self.waiting) and self.failed_in_a_row < MAX_FAILED_SHARDS

    def _count(self, process: DeviceProcess, shard: Shard | None, answer: object) -> None:
        """Take what came of a shard; of none, the process has loaded the model."""
        name = str(process.device)
        if shard is None:
            assert isinstance(answer, SessionDescription)
            self.began = self.began or time.perf_counter()
            self.uses.setdefault(name, DeviceUse(image_count=0))
            self.run.record_session(self.predictor.name, answer)
            return
        assert isinstance(answer, int)
        self.failed_in_a_row = 0
        self.done, self.hits = self.done + len(shard.images), self.hits + answer
        self.uses[name] = DeviceUse(image_count=self.uses[name].image_count + len(shard.images))
        self._tell()

    def _leave_out(self, shard: Shard | None, error: SourceError) -> None:
        """The place that holds a shard's images failed: no device is to blame."""
        if shard is None:
            raise error
        self.failed[shard.file_name] = error
        self.failed_in_a_row += 1
        self.run.announce(f"{shard.file_name} failed: {error.message}")

    def _lose(
        self, process: DeviceProcess, shard: Shard | None, error: EngineError | MissingRuntimeError
    ) -> None:
        """A device failed: it is given no more, and others compute its shard.

        Raises:
            EngineError: It is the second, or no other is left.
        """
        name = str(process.device)
        process.kill()
        before = self.uses.get(name, DeviceUse(image_count=0))
        where = f", in {shard.file_name}" if shard else ", loading the model"
        self.uses[name] = DeviceUse(image_count=before.image_count, failure=f"{error.message}{where}")
        if shard is not None:
            self.waiting.appendleft(shard)
        failures = [f"device {one} failed: {use.failure}" for one, use in self.uses.items() if use.failure]
        if len(failures) >= MAX_FAILED_DEVICES or not (self.running or self.idle):
            raise EngineError(
                f"{'; '.join(failures)}; the shards that are done are kept",
                hint="--resume computes what is missing",
            ) from error
        self.run.announce(f"Device {name} failed: {error.message}{where}; the others go on without it")

    def _tell(self) -> None:
        detail = ""
        if self.done:
            running = sum(shard is not None for _, shard in self.running.values())
            count = len(self.missing.shards)
            shards_done = f"{count - len(self.waiting) - running - len(self.failed):,} of {count:,} shards"
            detail = f"{shards_done}, {describe_running_top1(self.hits, self.done)}"
        task, total = self.predictor.task, self.missing.image_count
        self.run.advance(Progress(task=task, unit="images", done=self.done, total=total, detail=detail))
