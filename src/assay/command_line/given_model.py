"""The model that a command is given: compiled already, or a file that is compiled first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from assay.command_line.flags import EngineFlags
from assay.command_line.parse import refuse_unused
from assay.runs.listener import Listener

_ENGINE_FLAGS = tuple(field.name for field in dataclasses.fields(EngineFlags))


def provide_models(models: Sequence[Path], flags: EngineFlags, listener: Listener) -> list[Path]:
    """The folders of the compiled models; what is a model file is compiled into the user's cache.

    Args:
        models: Folders of compiled models or their URLs, and model files.
        flags: How model files are compiled.
        listener: Hears of the steps.

    Raises:
        UsageError: How to compile is said, and every model is compiled already.
        AssayError: As `provide_compiled`.
    """
    from assay.workflows.cluster.model_cache import fetch_compiled
    from assay.workflows.models.compile_on_demand import is_source, provide_compiled

    models = [fetch_compiled(model) for model in models]
    if not any(map(is_source, models)):
        refuse_unused(flags, _ENGINE_FLAGS, "on a compiled model: it runs as it was compiled")
        return models
    choice = flags.to_compile_choice()
    return [provide_compiled(model, flags.model, choice, listener) for model in models]
