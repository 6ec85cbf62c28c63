"""`assay models`: which models are known by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.command_line.flags import ShowFlags, make_help
from assay.command_line.outcome import Outcome
from assay.command_line.parse import refuse_replacing
from assay.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ModelsFlags(ShowFlags):
    """Flags of `assay models`."""

    toml: Annotated[bool, make_help("Show the record of that name, as TOML.")] = False
    output: Annotated[Path | None, make_help("Write the record of that name there, as TOML.", "-o")] = None
    overwrite: Annotated[bool, make_help("Replace a record that is there.")] = False


def models(word: str = "", /, flags: ModelsFlags = ModelsFlags()) -> Outcome:
    """List the models known by name, or write one's record.

    Args:
        word: Part of a name, such as seresnext; with --toml or -o, the name of one.
    """
    from assay.report.tables.models import make_model_table, make_source_tables
    from assay.workflows.models.list_models import list_models, write_model_record

    if flags.toml or flags.output is not None:
        if not word:
            raise UsageError(
                "assay models: --toml and -o are for one record", hint="assay models NAME --toml"
            )
        if flags.output is not None:
            refuse_replacing(flags.output, overwrite=flags.overwrite)
        text = write_model_record(word, flags.output)
        lines = [] if flags.output is None else [f"{flags.output}: the record {word}"]
        written = None if flags.output is None else str(flags.output)
        return Outcome(
            lines=[*([text.rstrip()] if flags.toml else []), *lines],
            document={"record_toml": text, "written": written},
        )
    found = list_models(word)
    if not found:
        raise UsageError(f"no model has {word!r} in its name", hint="assay models counts what is known")
    return Outcome(
        lines=[make_model_table(found)] if word else make_source_tables(found), document={"models": found}
    )
