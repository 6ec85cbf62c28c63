"""What a shell offers as the value of an option when Tab is pressed; imported only then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assay.defaults import DEFAULT_ENGINE

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

PRECISIONS = ("fp32", "bf16", "fp16", "int8")


def list_engine_names(context: CompletionContext) -> list[str]:  # noqa: ARG001 - the shell picks those that fit
    """The engines, also those of other packages."""
    from assay.engines.catalog import ENGINES
    from assay.engines.outside import list_outside

    return [*ENGINES, *list_outside()]


def list_devices(context: CompletionContext) -> list[str]:
    """The devices of the engine that stands before, or of the default one."""
    from assay.engines.catalog import find_engine

    return [*find_engine(context["engine"].raw or DEFAULT_ENGINE).devices]


def list_precisions(context: CompletionContext) -> tuple[str, ...]:  # noqa: ARG001
    """The precisions that engines know."""
    return PRECISIONS


def list_records(context: CompletionContext) -> Iterator[str]:
    """Names of model records that begin so, then TOML files and folders."""
    from assay.models.find_models import list_names

    begun = context.incomplete
    yield from (name for name, _ in list_names() if name.startswith(begun))
    folder, slash, start = begun.rpartition("/")
    place = Path(f"{folder}{slash}" or ".").expanduser()
    for path in sorted(place.glob("*")) if place.is_dir() else ():
        if path.name.startswith(start) and (path.is_dir() or path.suffix == ".toml"):
            yield f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
