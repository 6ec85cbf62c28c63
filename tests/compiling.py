"""Compile a model for a test, as the command line does: the choice is resolved once, then honoured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay.engines.catalog import find_engine
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import CompileChoice, CompileOptions, Engine
from assay.models.record import ModelRecord


def compile_with(
    engine: Engine, source: Path, folder: Path, record: ModelRecord, **chosen: Any
) -> CompiledModel:
    """Compile by the engine; `chosen` are fields of a `CompileChoice`."""
    options = engine.resolve(CompileChoice(engine=engine.name, **chosen), record)
    return engine.compile(source, folder, options)


def resolve_choice(record: ModelRecord, **chosen: Any) -> CompileOptions:
    """The options of a choice; `chosen` are fields of a `CompileChoice`, the engine by its name."""
    choice = CompileChoice(**chosen)
    return find_engine(choice.engine).resolve(choice, record)
