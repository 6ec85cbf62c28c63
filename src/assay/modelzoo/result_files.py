"""Finds the result files of the inference tools, of every generation, and the image each belongs to."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import msgspec

from assay.errors import BadInputError, shorten

# The number of the output, from 0 or 1; one of more digits belongs to the image's name
_OUTPUT_NUMBER = re.compile(r"[0-9]{1,3}")
_SAMPLE_NAME = re.compile(r"sample_id_[0-9]+_output_(?P<output>[0-9]+)")  # the tool of May 2022
MSAME_TAIL = "_output"  # msame writes NAME_output_0
_SUFFIXES = (".txt", ".bin", ".npy")
_SUMMARY_NAMES = ("sumary.json", "summary.json")  # the first generation's spelling, and the right one
_AGAIN = "run the inference again"
RESULT_HINT = "expected NAME_0.txt, .bin or .npy, or msame's NAME_output_0, one file for each image"


class ResultFile(msgspec.Struct, frozen=True):
    """One result file, the stem of its image, and the number of the output where the name has one.

    The path is text: a `Path` for each of 50,000 takes as long as reading the numbers in them.
    """

    path: str
    name: str
    stem: str
    output: int | None = None

    @property
    def suffix(self) -> str:
        """One of `.txt`, `.bin` and `.npy`."""
        return self.name[-4:]


def find_result_files(folder: Path) -> list[ResultFile]:
    """The result files of a folder, in byte order of their names.

    Where a summary lies in the folder or beside it, every file that it names must be there.

    Raises:
        BadInputError: No such folder, no result files, several outputs of one network, two kinds of
            files, names that do not say the image, two images for one file, or a file missing that the
            summary names.
    """
    names = sorted(_list_result_names(folder), key=os.fsencode)
    inputs = _read_summaries(folder, set(names))
    begin = os.path.join(folder, "")  # noqa: PTH118 - with the separator
    files = [_identify(begin + name, name, inputs) for name in names]
    _check_together(folder, files)
    return files


def _list_result_names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        raise BadInputError(f"result folder {folder} cannot be listed: {error.strerror}") from error
    names = [entry.name for entry in listed if entry.name.endswith(_SUFFIXES) and entry.is_file()]
    if not names:
        below = sorted(entry.name for entry in listed if entry.is_dir())
        hint = f"give the folder that holds them, such as {folder / below[0]}" if below else RESULT_HINT
        raise BadInputError(f"{folder}: no result files there", hint=hint)
    return names


def _identify(path: str, name: str, inputs: dict[str, str]) -> ResultFile:
    base = name[:-4]  # without the suffix
    sample = _SAMPLE_NAME.fullmatch(base) if base.startswith("sample_id_") else None
    if sample and name not in inputs:
        raise BadInputError(
            f"{path}: the name does not say which image it is of, and no summary file does",
            hint=f"put the run's summary.json into {Path(path).parent}, or infer with a newer tool",
        )
    if sample:
        stem = inputs[name].rpartition(".")[0] or inputs[name]
        return ResultFile(path, name, stem, int(sample["output"]))
    stem, _, number = base.rpartition("_")
    if not stem or not _OUTPUT_NUMBER.fullmatch(number):
        return ResultFile(path, name, base)
    return ResultFile(path, name, stem, int(number))


def _check_together(folder: Path, files: list[ResultFile]) -> None:
    first: dict[str, ResultFile] = {}
    alone = "keep the ones to score in a folder of their own"
    for file in files:
        other = first.setdefault(file.stem, file)
        if other is not file and other.suffix == file.suffix:
            raise BadInputError(
                f"{other.path} and {file.name} are both results of {file.stem}: "
                "several outputs of one network, or of one image",
                hint=alone,
            )
    suffixes = sorted({file.suffix[1:] for file in files})
    if len(suffixes) > 1:
        raise BadInputError(f"{folder}: several kinds of files: {', '.join(suffixes)}", hint=alone)
    outputs = sorted({file.output for file in files if file.output is not None})
    if len(outputs) > 1:
        listed = ", ".join(map(str, outputs[:5]))
        raise BadInputError(f"{folder}: results of several outputs of one network: {listed}", hint=alone)


def _read_summaries(folder: Path, present: set[str]) -> dict[str, str]:
    """The input file's name for every result file that a summary names."""
    inputs: dict[str, str] = {}
    beside = folder.with_name(f"{folder.resolve().name}_summary.json")
    for path in (*(folder / name for name in _SUMMARY_NAMES), beside):
        if path.is_file():
            inputs |= _read_summary(path)
    missing = sorted(inputs.keys() - present)
    if missing:
        raise BadInputError(
            f"{folder}: {len(missing):,} files are missing that the summary names, such as {missing[0]}",
            hint=_AGAIN,
        )
    return inputs


def _read_summary(path: Path) -> dict[str, str]:
    inputs: dict[str, str] = {}
    try:
        entries = json.loads(path.read_bytes()).get("filesinfo", {}).values()
        pairs = [(Path(out).name, str(entry["infiles"][0])) for entry in entries for out in entry["outfiles"]]
    except (OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise BadInputError(f"summary {path} cannot be read: {shorten(repr(error))}", hint=_AGAIN) from error
    for name, source in pairs:
        if inputs.setdefault(name, source) != source:
            raise BadInputError(
                f"{path}: {inputs[name]} and {source} have both been written to {name}",
                hint="names must differ before their first dot; rename one and run the inference again",
            )
    return {name: Path(source).name for name, source in inputs.items()}
