"""Turns the inference tool's command line into that of `assay infer`."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The tool's short and old names, and the spellings of its generations.
_NAMES = {
    "-m": "--model",
    "--om": "--model",
    "-om": "--model",
    "--om-model": "--model",
    "-i": "--input",
    "-o": "--output",
    "-od": "--output-dirname",
    "-l": "--loop",
    "-r": "--loop",
    "-d": "--device",
    "-pdt": "--pure-data-type",
    "-wcount": "--warmup-count",
    "--batch-size": "--batchsize",
    "--device-id": "--device",
}


def translate_arguments(arguments: Iterable[str]) -> list[str]:
    """The arguments of `assay infer` for those of any generation of the inference tool.

    The published instructions have an en dash in front of `model`, so en and em dashes are taken for
    hyphens there. Underscores in names become hyphens; `--name=value` is taken apart; the model goes first.

    >>> translate_arguments(["--output_dirname=b", "--om", "a.om", "-i", "c"])
    ['a.om', '--output-dirname', 'b', '--input', 'c']
    """
    translated: list[str] = []
    for argument in arguments:
        match = re.fullmatch(r"([-\u2013\u2014]+)([A-Za-z][\w-]*)(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            translated.append(argument)
            continue
        dashes, word, value = match.groups()
        single = dashes == "-"
        name = f"{'-' if single else '--'}{word.replace('_', '-')}"
        translated.append(_NAMES.get(name, name))
        if value is not None:
            translated.append(value)
    if "--model" in translated[:-1]:
        place = translated.index("--model")
        _, model = translated[place : place + 2]
        return [model, *translated[:place], *translated[place + 2 :]]
    return translated
