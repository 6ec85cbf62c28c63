"""Feeds damaged bundles to `verify` by coverage: any error but our own is a find.

An input is a zip file, or the number of a file in a bundle and other contents for it: else the checksums of
zip would keep all but few damages from what reads the files. From 128 on, the number is of a JSON file, and
what follows puts odd values into some of its places: else nearly all inputs would end as no JSON.

By hand, for as long as you like: python tests/fuzz/fuzz_bundles.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import copy
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atheris
from watch import fuzz

TESTS = Path(__file__).resolve().parents[1]

with atheris.instrument_imports(include=["assay", "zipfile"]):
    from assay.errors import BadInputError
    from assay.workflows.results.verify import verify_bundle

PLACE = Path(tempfile.mkdtemp()) / "bundle.zip"
FILES: dict[str, bytes] = {}
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2, 10**30, 1e308, -1e308, 0.5, float("nan"), float("inf")),
    *("", "x", "\x1b[31m", "../x", "/etc/passwd", "s3://host/x", "12", "0" * 64, "top1>=0.5"),
    *("\ud800", "a" * 5000, [], {}, [1], [[]]),
)


def verify(content: bytes) -> None:
    number = content[0] if content else len(FILES)
    if number < len(FILES):
        write_zip({**FILES, list(FILES)[number]: content[1:]})
    elif number >= 128:
        names = [name for name in FILES if name.endswith(".json")]
        name = names[number % len(names)]
        write_zip({**FILES, name: put_odd_values(FILES[name], content[1:])})
    else:
        PLACE.write_bytes(content)
    verify_bundle(PLACE)


def put_odd_values(document: bytes, choices: bytes) -> bytes:
    """Put up to eight odd values, or values of other places, into a JSON document."""
    chosen = atheris.FuzzedDataProvider(choices)
    whole = json.loads(document)
    for _ in range(chosen.ConsumeIntInRange(1, 8)):
        places = list(list_places(whole))
        if not places:
            break
        holder, key = places[chosen.ConsumeIntInRange(0, len(places) - 1)]
        other, other_key = places[chosen.ConsumeIntInRange(0, len(places) - 1)]
        values = [*ODD_VALUES, other[other_key]]
        holder[key] = copy.deepcopy(values[chosen.ConsumeIntInRange(0, len(values) - 1)])
    return json.dumps(whole).encode()


def list_places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from list_places(inner)


def write_zip(files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(PLACE, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_seeds(folder: Path) -> None:
    """Make a small bundle by a run, and write it and each of its files, to begin with."""
    sys.path.insert(0, str(TESTS))
    from assay.command_line.app import main
    from assay.images.drawn_images import draw_labelled_images
    from colour_classifier import make_colour_classifier

    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp())
    draw_labelled_images(place / "images", place / "labels.txt", image_count=3, seed=3)
    onnx = make_colour_classifier(place / "colour.onnx", class_count=1000)
    assert not main(["compile", str(onnx), str(place / "compiled"), "--engine", "constant", "-q"])
    evaluate = ["evaluate", str(place / "compiled"), "--images", str(place / "images")]
    evaluate += ["--labels", str(place / "labels.txt"), "-o", str(place / "run"), "-q"]
    assert not main(evaluate)
    assert not main(["bundle", str(place / "run"), str(folder / "bundle"), "--overwrite", "-q"])
    with zipfile.ZipFile(io.BytesIO((folder / "bundle").read_bytes())) as archive:
        FILES.update({name: archive.read(name) for name in archive.namelist()})
    for number, (name, content) in enumerate(FILES.items()):
        (folder / name.replace("/", "_")).write_bytes(bytes([number]) + content)


if __name__ == "__main__":
    fuzz(verify, (BadInputError,), write_seeds, "-keep_seed=1", "-len_control=0")
