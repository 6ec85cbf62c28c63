"""Feeds damaged bundles to `verify` by coverage: any error but our own is a find.

An input is a zip file, or the number of a file in a bundle and other contents for it: else the checksums of
zip would keep all but few damages from what reads the files.

By hand, for as long as you like: python tests/fuzz/fuzz_bundles.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parents[1]

with atheris.instrument_imports(include=["assay", "zipfile"]):
    from assay.errors import BadInputError
    from assay.workflows.results.verify import verify_bundle

PLACE = Path(tempfile.mkdtemp()) / "bundle.zip"
FILES: dict[str, bytes] = {}


def verify(content: bytes) -> None:
    number = content[:1]
    if number and number[0] < len(FILES):
        write_zip({**FILES, list(FILES)[number[0]]: content[1:]})
    else:
        PLACE.write_bytes(content)
    with contextlib.suppress(BadInputError):
        verify_bundle(PLACE)


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
    write_seeds(Path(sys.argv[1]))
    atheris.Setup([*sys.argv, "-keep_seed=1", "-len_control=0"], verify)
    atheris.Fuzz()
