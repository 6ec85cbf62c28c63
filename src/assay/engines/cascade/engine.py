"""The `cascade` engine: loads what `assay cascade` made of two compiled models; it compiles nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from assay import __version__
from assay.engines.cascade.record import CASCADE, EXACT_FOLDER, FAST_FOLDER, read_cascade_json
from assay.engines.cascade.session import CascadeSession
from assay.engines.catalog import find_engine, find_numbered
from assay.engines.compiled_model import read_compiled_for, read_compiled_json
from assay.engines.engine import (
    BatchSizes,
    CompileChoice,
    CompileOptions,
    PixelEngine,
    Session,
    SourceKind,
)
from assay.engines.sources import recall_options
from assay.errors import UsageError
from assay.models.record import ModelRecord


class CascadeEngine:
    """See `Engine`."""

    name = CASCADE
    version = __version__
    source: SourceKind = "ONNX file"
    precisions: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    proven_devices: tuple[str, ...] = ()
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType({})

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`: it has none of its own."""
        return {}

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> NoReturn:
        """Refuse: nothing is compiled for it."""
        del choice, record
        raise _nothing_to_compile()

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> NoReturn:
        """Refuse: nothing is compiled for it."""
        del source, compiled_dir, options
        raise _nothing_to_compile()

    def load(self, compiled_dir: Path) -> CascadeSession:
        """See `Engine.load`."""
        return _open(compiled_dir, takes_pixels=False)

    def load_for_pixels(self, compiled_dir: Path) -> CascadeSession:
        """See `PixelEngine.load_for_pixels`."""
        return _open(compiled_dir, takes_pixels=read_compiled_for(CASCADE, compiled_dir).takes_pixels)

    def load_on(self, compiled_dir: Path, number: int) -> CascadeSession:
        """See `DeviceLoader.load_on`: a model on something else, such as the processor, stays there."""
        takes_pixels = read_compiled_for(CASCADE, compiled_dir).takes_pixels
        return _open(compiled_dir, takes_pixels=takes_pixels, number=number)


def _nothing_to_compile() -> UsageError:
    return UsageError(
        "engine cascade compiles nothing: a cascade is made of two compiled models of one network",
        hint="compile each, then: assay cascade FAST EXACT OUT --images PATH",
    )


def _open(compiled_dir: Path, *, takes_pixels: bool, number: int | None = None) -> CascadeSession:
    read_compiled_for(CASCADE, compiled_dir)
    record = read_cascade_json(compiled_dir)
    fast = _load(compiled_dir / FAST_FOLDER, number, takes_pixels=takes_pixels)
    try:
        exact_dir = compiled_dir / EXACT_FOLDER
        exact = _load(exact_dir, number, takes_pixels=takes_pixels)
        return CascadeSession(record, fast, exact, read_compiled_json(exact_dir))
    except BaseException:
        fast.close()
        raise


def _load(compiled_dir: Path, number: int | None, *, takes_pixels: bool) -> Session:
    compiled = read_compiled_json(compiled_dir)
    if number is not None and (numbered := find_numbered(recall_options(compiled))):
        return numbered.load_on(compiled_dir, number)
    engine = find_engine(compiled.engine)
    if takes_pixels and isinstance(engine, PixelEngine):
        return engine.load_for_pixels(compiled_dir)
    return engine.load(compiled_dir)
