"""Finds the sets of weights in what a checkpoint holds, and takes one of them."""

from __future__ import annotations

import collections
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from assay.checkpoint.read_weights import MOST_WRAPPERS, SAVE_HINT, WRAPPERS
from assay.checkpoint.weights_choice import name_first_three
from assay.errors import BadCheckpointError, quote, shorten

# DataParallel and its kin, torch.compile, Lightning, and modules that hold the network
PREFIXES = re.compile(r"(?:(?:module|_orig_mod|model|backbone|encoder|network|net)\.)+")
COUNTERS = ("n_averaged",)  # beside the weights of torch's AveragedModel


@dataclass(frozen=True, kw_only=True)
class ChosenWeights:
    """One set of weights of a file.

    Args:
        tensors: By the name that the network has for each, without prefixes.
        key: Where in the file they were, such as "state_dict"; "" for its top level.
        other_keys: Where other sets of the same weights are.
    """

    tensors: dict[str, Tensor]
    key: str
    other_keys: tuple[str, ...]


def choose_weights(
    content: object, expected: Collection[str], path: Path, key: str | None = None
) -> ChosenWeights:
    """Take one set of weights of what a file holds.

    Args:
        content: What the file holds.
        expected: The network's names of its weights, by which other sets are known.
        path: The file, for messages.
        key: Which set: a key of the file, keys with dots between, or the first part of the names in a flat
            file; None for the first of `WRAPPERS` that is there, else the only set, else the top level.

    Raises:
        BadCheckpointError: No such key, no weights, several sets with nothing to choose by, or something
            else than tensors among them.
    """
    sets = dict(_list_sets(content, expected))
    if key is not None:
        found = sets.get(key, _look_up(content, key))
        if found is None:
            raise BadCheckpointError(
                f"weights {path}: nothing is at the key {quote(key)}", hint=_list_keys(sets) or SAVE_HINT
            )
    else:
        key, found = _find_plain(content, sets)
        if key is None:
            raise BadCheckpointError(
                f"weights {path}: several sets of weights, none of them called {WRAPPERS[0]}",
                hint=_list_keys(sets),
            )
    tensors = _strip_prefixes(_require_tensors(found, sets, path), expected, path)
    return ChosenWeights(
        tensors=tensors, key=key, other_keys=tuple(name for name in sets if name not in ("", key))
    )


def list_tensor_names(content: object) -> list[str]:
    """The names of all tensors, also in the dicts of what a file holds, without what leads to those."""
    found: list[str] = []
    inner: list[object] = [content]
    for _ in range(MOST_WRAPPERS + 1):
        dicts = [each for each in inner if isinstance(each, Mapping)]
        found += [str(name) for each in dicts for name, value in each.items() if isinstance(value, Tensor)]
        inner = [*{id(value): value for each in dicts for value in each.values()}.values()]
    return found


def _list_sets(
    content: object,
    expected: Collection[str],
    key: str = "",
    depth: int = 0,
    seen: set[int] | None = None,
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield key and tensors of every dict that holds most of the network's weights, by their names, once."""
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or depth > MOST_WRAPPERS or id(content) in seen:
        return
    seen.add(id(content))
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    by_part = _sort_by_part(tensors)
    fitting = {part: by_part[part] for part in sorted(by_part) if _fit(by_part[part], expected)}
    if len(fitting) > 1:
        yield from ((f"{key}.{part}" if key else part, found) for part, found in fitting.items())
    elif _fit(tensors, expected):
        yield key, tensors
    for name, value in content.items():
        if isinstance(value, Mapping):
            path = f"{key}.{name}" if key else f"{name}"
            yield from _list_sets(value, expected, path, depth + 1, seen)


def _sort_by_part(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors by the first part of their names, where it has another behind it."""
    by_part: dict[str, dict[str, Tensor]] = collections.defaultdict(dict)
    for name, tensor in tensors.items():
        part, dot, rest = name.partition(".")
        if dot:
            by_part[part][rest] = tensor
    return by_part


def _fit(tensors: Mapping[str, Tensor], expected: Collection[str]) -> bool:
    """Whether the tensors are most of the network's, by name."""
    known = set(expected)
    return 2 * len({PREFIXES.sub("", name, count=1) for name in tensors} & known) > len(known)


def _look_up(content: object, key: str) -> object | None:
    """What is at a key, or at keys with dots between; None where nothing is."""
    if not isinstance(content, Mapping):
        return None
    if key in content:
        value: object = content[key]
        return value
    for name, value in content.items():
        if key.startswith(f"{name}.") and isinstance(value, Mapping):
            found = _look_up(value, key.removeprefix(f"{name}."))
            if found is not None:
                return found
    return None


def _find_plain(content: object, sets: Mapping[str, dict[str, Tensor]]) -> tuple[str | None, object]:
    """Key and content of the plain weights; no key where several sets are there and none is plain."""
    keys: list[str] = []
    found = content
    while isinstance(found, Mapping) and len(keys) < MOST_WRAPPERS - 1 and ".".join(keys) not in sets:
        wrapper = next((name for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
        if wrapper is None:
            break
        found = found[wrapper]
        keys.append(wrapper)
    key = ".".join(keys)
    if key in sets:
        return key, sets[key]
    inside = [name for name in sets if not key or name.startswith(f"{key}.")]
    if len(inside) > 1:
        return None, None
    return (inside[0], sets[inside[0]]) if inside else (key, found)


def _require_tensors(content: object, sets: Mapping[str, dict[str, Tensor]], path: Path) -> dict[str, Tensor]:
    """The content as tensors by name.

    Raises:
        BadCheckpointError: It is no dict of tensors alone.
    """
    if not isinstance(content, Mapping) or not content:
        found = "nothing in it" if content == {} else type(content).__name__
        raise BadCheckpointError(f"weights {path}: expected a state_dict, found {found}", hint=SAVE_HINT)
    strangers = [
        f"{shorten(name, 40)} ({type(value).__name__})"
        for name, value in content.items()
        if not isinstance(value, Tensor)
    ]
    if strangers:
        raise BadCheckpointError(
            f"weights {path}: expected tensors alone, or a dict of them at a key such as "
            f"{', '.join(WRAPPERS[:3])}; found {name_first_three(strangers)}",
            hint=_list_keys(sets) or SAVE_HINT,
        )
    return {str(name): value for name, value in content.items()}


def _strip_prefixes(
    tensors: Mapping[str, Tensor], expected: Collection[str], path: Path
) -> dict[str, Tensor]:
    stripped: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = name if name in expected else _strip_prefix(name)
        if bare in stripped:
            raise BadCheckpointError(
                f"weights {path}: expected one tensor for {shorten(bare)}, found two",
                hint="--weights-key takes the first part of the names of one set",
            )
        if bare not in COUNTERS:
            stripped[bare] = tensor
    return stripped


def _strip_prefix(name: str) -> str:
    match = PREFIXES.match(name)
    return name[match.end() :] if match else name


def _list_keys(sets: Mapping[str, dict[str, Tensor]]) -> str:
    keys = [name for name in sets if name]
    return " or ".join(f"--weights-key {shorten(name, 80)}" for name in keys[:3])
