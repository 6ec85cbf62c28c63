"""What is said of a model that a library does not have, or that no record can be made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from assay.errors import BadModelError, quote
from assay.models.tables.read import read_timm_models, read_torchvision_weights


def refuse_unknown(library: str, wanted: str, known: Iterable[str]) -> BadModelError:
    """The error for a name that the tables do not hold, with those that are nearly the same."""
    by_key = {name.lower(): name for name in known}
    close = [by_key[key] for key in difflib.get_close_matches(wanted.lower(), by_key, n=3)]
    meant = f"did you mean {' or '.join(f'{library}/{name}' for name in close)}? " if close else ""
    word = next(iter(wanted.replace("/", ".").split(".")), wanted)
    return BadModelError(
        f"{library} publishes no model that is called {quote(wanted)}",
        hint=f"{meant}assay models {word or library} searches all of them",
    )


def suggest_published(wanted: str) -> str:
    """Records of timm's and torchvision's tables whose architecture is called so; empty where there is none.

    Of each library the first: torchvision's default weights, timm's first.
    """
    name = wanted.lower().replace("-", "_")
    torchvision = {row.name: f"torchvision/{row.name}" for row in read_torchvision_weights()}
    timm: dict[str, str] = {}
    for row in read_timm_models():
        timm.setdefault(row.name.partition(".")[0], f"timm/{row.name}")
    for form in (name, name.replace("_", "")):
        if found := [table[form] for table in (torchvision, timm) if form in table]:
            return " or ".join(found)
    return ""


def refuse_unsayable(name: str, reason: str, hint: str) -> BadModelError:
    """The error for a model that is known, but of which no record can be made."""
    return BadModelError(f"{name}: no model record can be made: {reason}", hint=hint)
