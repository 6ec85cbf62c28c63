"""The shards of a run that are missing, computed on a Ray cluster."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from assay.engines.cascade.compose import list_engines
from assay.engines.compiled_model import read_compiled_json
from assay.errors import AssayError, EngineError, SourceError, UsageError, missing_package
from assay.files import write_file
from assay.inference.pipeline import PipelineOptions
from assay.inference.shards import Shard
from assay.runs.folder import RunFolder
from assay.runs.listener import Progress
from assay.workflows.cluster.actor_needs import ActorRequest
from assay.workflows.cluster.driver_process import (
    Connected,
    DriverPlan,
    DriverProcess,
    Finished,
    LostShard,
    Note,
    WantedShard,
    choose_address,
    open_driver,
)
from assay.workflows.cluster.model_cache import hash_compiled, read_files
from assay.workflows.cluster.shard_runner import ShardReport, ShardWork, find_versions
from assay.workflows.evaluate.predict import (
    Predictor,
    ShardError,
    describe_running_top1,
    list_missing_shards,
    summarise_failures,
)


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Computes the missing shards of a run on a Ray cluster.

    Args:
        compiled_dir: The compiled model, on this machine; the nodes get it.
        address: Of the cluster; empty means what RAY_ADDRESS says, else a Ray of this machine alone.
        request: What each actor asks of its node.
    """

    compiled_dir: Path
    address: str = ""
    request: ActorRequest = field(default_factory=ActorRequest)

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise missing_package("ray", "ray")

    def predict_missing_shards(
        self,
        predictor: Predictor,
        shards: Sequence[Shard],
        fingerprint: str,
        options: PipelineOptions,
        run: RunFolder,
    ) -> None:
        """Compute and write the shards that are missing, each by one actor; one that is lost is tried again.

        Raises:
            UsageError: The images are held in a form that cannot be sent.
            MissingRuntimeError: No cluster, no node that has what an actor needs, or no node with the same
                versions.
            EngineError: Shards failed, or the cluster is gone; what was finished is kept.
            SourceError: Likewise, where the first failed for its images' source.
        """
        missing = list_missing_shards(predictor, shards, fingerprint, run)
        if not missing:
            return
        _pickle_shard(missing[0])
        compiled = read_compiled_json(self.compiled_dir)
        threads = compiled.settings.get("threads")
        plan = DriverPlan(
            work=ShardWork(
                compiled=compiled,
                compiled_sha256=hash_compiled(compiled, self.compiled_dir),
                fetch_files=partial(read_files, compiled, self.compiled_dir.resolve()),
                fingerprint=fingerprint,
                options=options,
                versions=find_versions(*list_engines(compiled)),
            ),
            numbers=[shard.number for shard in missing],
            request=replace(self.request, thread_count=int(threads) if threads else None),
        )
        with open_driver(choose_address(self.address)) as driver:
            driver.send(plan)
            _Follower(predictor, missing, run).follow(driver)


def _pickle_shard(shard: Shard) -> bytes:
    try:
        return pickle.dumps(shard)
    except (TypeError, pickle.PicklingError) as error:
        raise UsageError(
            f"--ray: images in this form cannot be read by other processes: {error}",
            hint="unpack them into a folder, or use --shard I/N",
        ) from error


class _Follower:
    """Writes the shards as they come, and tells the user how far the cluster is and what failed."""

    def __init__(self, predictor: Predictor, missing: Sequence[Shard], run: RunFolder) -> None:
        self._predictor = predictor
        self._run = run
        self._folder = run.path / predictor.folder
        self._shards = {shard.number: shard for shard in missing}
        self._total = sum(len(shard.images) for shard in missing)
        self._failed: dict[str, ShardError] = {}
        self._shards_done = self._done = self._hits = 0

    def follow(self, driver: DriverProcess) -> None:
        """Listen to the driver until it has finished.

        Raises:
            AssayError: Nothing goes on.
            EngineError: Shards failed.
            SourceError: Likewise, where the first failed for its images' source.
        """
        try:
            for message in driver.receive():
                if isinstance(message, Finished):
                    self._end(message)
                    return
                self._take(message, driver)
        finally:
            self._run.record_failed_shards(self._failed)

    def _take(self, message: object, driver: DriverProcess) -> None:
        if isinstance(message, WantedShard):
            driver.send(_pickle_shard(self._shards[message.number]))
        elif isinstance(message, Note):
            self._run.announce(message.text)
        elif isinstance(message, ShardReport):
            self._count(message)
        elif isinstance(message, LostShard):
            self._failed[self._shards[message.number].file_name] = _as_shard_error(message.error)
        elif isinstance(message, Connected):
            count, actors = len(self._shards), message.actor_count
            self._run.announce(f"{count} shards by {actors} actors on Ray, {message.needs} each")
            self._advance()

    def _count(self, report: ShardReport) -> None:
        if report.session is not None:
            self._run.record_session(self._predictor.name, report.session)
        write_file(self._folder / self._shards[report.number].file_name, report.content)
        self._shards_done += 1
        self._done += report.image_count
        self._hits += report.hits
        self._advance()

    def _advance(self) -> None:
        detail = f"{self._shards_done:,} of {len(self._shards):,} shards"
        if self._done:
            detail += f", {describe_running_top1(self._hits, self._done)}"
        task = self._predictor.task
        progress = Progress(task=task, unit="images", done=self._done, total=self._total, detail=detail)
        self._run.advance(progress)

    def _end(self, finished: Finished) -> None:
        if self._failed:
            raise summarise_failures(self._failed, finished.untried_count)
        if finished.error is not None:
            raise finished.error


def _as_shard_error(error: AssayError) -> ShardError:
    if isinstance(error, EngineError | SourceError):
        return error
    return EngineError(error.message, hint=error.hint)
