"""The shards of a run that are missing, computed on a Ray cluster."""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import dataclass, field, replace
from functools import partial

from assay.engines.cascade.compose import list_engines
from assay.engines.compiled_model import read_compiled_json
from assay.errors import AssayError, EngineError, SourceError, missing_package
from assay.files import write_file
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
    MissingShards,
    ShardError,
    describe_running_top1,
    summarise_failures,
)


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Computes shards on a Ray cluster, whose nodes get the compiled model from this machine.

    Args:
        address: Of the cluster; empty means what RAY_ADDRESS says, else a Ray of this machine alone.
        request: What each actor asks of its node.
    """

    address: str = ""
    request: ActorRequest = field(default_factory=ActorRequest)

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise missing_package("ray", "ray")

    def compute_shards(self, missing: MissingShards) -> None:
        """Compute each shard by one actor; one that is lost is tried again. See `ComputeShards`.

        Raises:
            UsageError: The images are held in a form that cannot be sent.
            MissingRuntimeError: No cluster, no node that has what an actor needs, or no node with the same
                versions.
            EngineError: The cluster is gone; what was finished is kept.
        """
        missing.check_form("--ray")
        compiled_dir = missing.predictor.compiled_dir
        assert compiled_dir is not None
        compiled = read_compiled_json(compiled_dir)
        threads = compiled.settings.get("threads")
        plan = DriverPlan(
            work=ShardWork(
                compiled=compiled,
                compiled_sha256=hash_compiled(compiled, compiled_dir),
                fetch_files=partial(read_files, compiled, compiled_dir.resolve()),
                fingerprint=missing.fingerprint,
                options=missing.options,
                versions=find_versions(*list_engines(compiled)),
            ),
            numbers=[shard.number for shard in missing.shards],
            request=replace(self.request, thread_count=int(threads) if threads else None),
        )
        with open_driver(choose_address(self.address)) as driver:
            driver.send(plan)
            _Follower(missing).follow(driver)


class _Follower:
    """Writes the shards as they come, and tells the user how far the cluster is and what failed."""

    def __init__(self, missing: MissingShards) -> None:
        self._missing = missing
        self._run = missing.run
        self._shards = {shard.number: shard for shard in missing.shards}
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
            driver.send(pickle.dumps(self._shards[message.number]))
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
            self._run.record_session(self._missing.predictor.name, report.session)
        write_file(self._missing.folder / self._shards[report.number].file_name, report.content)
        self._shards_done += 1
        self._done += report.image_count
        self._hits += report.hits
        self._advance()

    def _advance(self) -> None:
        detail = f"{self._shards_done:,} of {len(self._shards):,} shards"
        if self._done:
            detail += f", {describe_running_top1(self._hits, self._done)}"
        task, total = self._missing.predictor.task, self._missing.image_count
        self._run.advance(Progress(task=task, unit="images", done=self._done, total=total, detail=detail))

    def _end(self, finished: Finished) -> None:
        if self._failed:
            raise summarise_failures(self._failed, finished.untried_count)
        if finished.error is not None:
            raise finished.error


def _as_shard_error(error: AssayError) -> ShardError:
    if isinstance(error, EngineError | SourceError):
        return error
    return EngineError(error.message, hint=error.hint)
