"""What a node of a cluster does: it computes shards of a run, one after another, by one session."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from assay import __version__
from assay.engines.cascade.compose import list_engines
from assay.engines.catalog import find_engine, load_for_evaluation
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import Session, SessionDescription
from assay.engines.outside import describe_version
from assay.errors import (
    AssayError,
    EngineError,
    MissingRuntimeError,
    SourceError,
    UndecodableImageError,
)
from assay.images.check_pixels import check_pixels
from assay.images.pixel_check import PixelCheck
from assay.images.read import Patience, read_image
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.shards import Shard, encode_shard
from assay.measure.accuracy.accuracy import count_topk_hits
from assay.workflows.cluster.model_cache import keep_compiled


class NodeVersions(msgspec.Struct, frozen=True, kw_only=True):
    """What of a node decides the predictions it makes."""

    assay: str
    engine_version: str
    pixels: PixelCheck


class ShardReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a shard ended on a node; `error` is why it was not computed, or why the node can compute none.

    `content` is its file's.
    """

    number: int
    image_count: int
    hits: int = 0
    error: str = ""
    error_kind: str = ""
    hint: str = ""
    node: str
    content: bytes = b""
    session: SessionDescription | None = None

    def find_error(self) -> AssayError | None:
        """The error, which names the node; None where the shard was computed."""
        if not self.error:
            return None
        return _ERRORS[self.error_kind](f"{self.error} (node {self.node})", hint=self.hint)


_ERRORS = {kind.__name__: kind for kind in (SourceError, MissingRuntimeError, EngineError)}


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """What all nodes are told.

    Args:
        compiled: The compiled model.
        compiled_sha256: The sha256 of its folder.
        fetch_files: Gives its files to a node that has them not.
        fingerprint: Of the run.
        options: How images are streamed.
        versions: What the other nodes compute with.
    """

    compiled: CompiledModel
    compiled_sha256: str
    fetch_files: Callable[[], dict[str, bytes]]
    fingerprint: str
    options: PipelineOptions
    versions: NodeVersions


def find_versions(*engine_names: str) -> NodeVersions:
    """Find what of this machine decides the predictions it makes.

    Raises:
        MissingRuntimeError: The engine's package is not installed.
    """
    engine_version = " then ".join(describe_version(find_engine(name)) for name in engine_names)
    return NodeVersions(assay=__version__, engine_version=engine_version, pixels=check_pixels())


def name_differences(expected: NodeVersions, found: NodeVersions) -> list[str]:
    """Say in words what differs between two nodes."""
    pairs = [
        ("assay", expected.assay, found.assay),
        ("the runtime", expected.engine_version, found.engine_version),
        ("Pillow", expected.pixels.pillow, found.pixels.pillow),
        ("Pillow's JPEG decoder", expected.pixels.pillow_jpeg, found.pixels.pillow_jpeg),
        ("simplejpeg", expected.pixels.simplejpeg, found.pixels.simplejpeg),
        ("pixels", expected.pixels.differing, found.pixels.differing),
    ]
    return [
        f"{name} {now or 'as verified'}, expected {before or 'as verified'}"
        for name, before, now in pairs
        if before != now
    ]


class ShardRunner:
    """Computes shards by one session, which is loaded once; made on the node.

    It raises nothing that a user can cause: how a shard ended is its report.
    """

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        self._session: Session | None = None

    def check(self, pickled: bytes) -> ShardReport:
        """Find out whether this node can compute any: versions, session, an image of a shard."""
        shard: Shard = pickle.loads(pickled)
        try:
            self._refuse_other_versions()
            self._session = self._load_session()
            with suppress(UndecodableImageError):  # it was read
                patience = Patience(pauses_s=self._work.options.pauses_s)
                read_image(shard.images[0], self._work.options.reading, patience)
        except (AssayError, OSError) as error:
            return self._report_failure(shard, error)
        return ShardReport(number=shard.number, image_count=0, node=socket.gethostname())

    def compute(self, pickled: bytes) -> ShardReport:
        """Compute a shard, and report how that ended, with the content of its file.

        After an error of the runtime the session is loaded anew for the next shard.
        """
        shard: Shard = pickle.loads(pickled)
        record = self._work.compiled.model
        try:
            if self._session is None:
                self._session = self._load_session()
            stream = predict_shards(self._session, [shard], record, self._work.options, lambda _: None)
            ((_, predictions),) = stream
        except (AssayError, OSError) as error:
            if not isinstance(error, SourceError):
                self.close()
            return self._report_failure(shard, error)
        return ShardReport(
            number=shard.number,
            image_count=len(shard.images),
            hits=count_topk_hits(predictions, self._work.compiled.model.output.label_offset)[0],
            node=socket.gethostname(),
            content=encode_shard(
                shard.file_name,
                predictions,
                self._work.fingerprint,
                keep_logits=self._work.options.keep_logits,
            ),
            session=self._session.description,
        )

    def _report_failure(self, shard: Shard, error: AssayError | OSError) -> ShardReport:
        kind = type(error) if isinstance(error, SourceError | MissingRuntimeError) else EngineError
        message = error.message if isinstance(error, AssayError) else str(error)
        return ShardReport(
            number=shard.number,
            image_count=len(shard.images),
            node=socket.gethostname(),
            error=message,
            error_kind=kind.__name__,
            hint=error.hint if isinstance(error, AssayError) else "",
        )

    def close(self) -> None:
        """Free the device."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _load_session(self) -> Session:
        work = self._work
        return load_for_evaluation(keep_compiled(work.compiled_sha256, work.fetch_files))

    def _refuse_other_versions(self) -> None:
        work = self._work
        if differences := name_differences(work.versions, find_versions(*list_engines(work.compiled))):
            raise MissingRuntimeError(
                f"not the versions of the machine that began the run: {', '.join(differences)}",
                hint="install the same versions on every node",
            )
