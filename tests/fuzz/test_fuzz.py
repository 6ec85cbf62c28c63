"""Whatever bytes come in: our own error or a result, no other error, no hang.

The hypothesis tests write whatever they like to a file; the last test runs the coverage-guided fuzzers
beside this file for a moment, to see that they find nothing at once. By hand they run for hours.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assay.errors import AssayError, BadImagesError, BadModelError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions, read_label_file
from assay.images.label_names import match_label_names
from assay.images.sources import index_images
from assay.models.read_record import read_model_record
from assay.modelzoo.info_files import write_bin_info
from assay.modelzoo.result_files import find_result_files
from assay.modelzoo.result_values import count_classes, read_values

FOLDER = Path(__file__).parent
SMALL = settings(max_examples=60)

NAMES = st.sampled_from(["a.JPEG", "ILSVRC2012_val_00000001.JPEG", "b c.png", "x", '"q"', "é.jpg"])
LABELS = st.sampled_from(["0", "999", "1000", "n01440764", "n00000000", "-1", "1.5", "", "crane", "٣"])
SEPARATORS = st.sampled_from([" ", "\t", ",", "  ", ", "])
LINES = st.builds(lambda *parts: "".join(parts), NAMES, SEPARATORS, LABELS)
LABEL_TEXT = st.lists(LINES | st.text(max_size=30), max_size=8).map("\n".join)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@SMALL
@given(content=st.binary(max_size=200) | LABEL_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=b"\xff\xfea\0 \x001\0")
def test_any_bytes_as_label_file_are_read_or_refused(place: Path, content: bytes) -> None:
    path = place / "labels.txt"
    path.write_bytes(content)
    for options in (LabelOptions(), LabelOptions(offset=1, trusted=True)):
        with contextlib.suppress(BadImagesError):
            labels = read_label_file(path, IMAGENET_CLASSES, options).labels
            assert all(0 <= label < 1000 for label in labels.values())
            assert match_label_names(labels, list(labels)) == {name: name for name in labels}


@SMALL
@given(
    content=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_bytes_that_hold_no_images_are_refused(place: Path, content: bytes) -> None:
    path = place / "images"
    path.write_bytes(content)
    with pytest.raises(BadImagesError):
        index_images(path, IMAGENET_CLASSES)


VALUES = st.sampled_from(["0.5", "-1", "nan", "inf", "1e-5", "1e999", "1,5", "", " ", "x", "0.5 ", "\0"])
RESULT_TEXT = st.lists(VALUES, max_size=12).map(" ".join)


@SMALL
@given(contents=st.lists(RESULT_TEXT.map(str.encode) | st.binary(max_size=60), min_size=1, max_size=4))
@pytest.mark.parametrize("suffix", ["txt", "bin", "npy"])
def test_any_bytes_as_result_file_are_scored_or_refused(
    place: Path, suffix: str, contents: list[bytes]
) -> None:
    folder = place / f"results_{suffix}"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    for number, content in enumerate(contents):
        (folder / f"img{number}_0.{suffix}").write_bytes(content)
    with contextlib.suppress(AssayError):
        files = find_result_files(folder)
        class_count = count_classes(files[0])
        for block in read_values(files, class_count):
            assert block.dtype.kind == "f"
            assert block.shape[1] == class_count


FILE_NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=60)
@given(names=st.lists(FILE_NAMES, max_size=4, unique=True))
def test_any_bytes_as_info_input_are_listed_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("info")
    (folder / "bins").mkdir()
    for name in names:
        (folder / "bins" / f"{name}.bin").write_bytes(b"")
    with contextlib.suppress(AssayError):
        count = write_bin_info(str(folder / "bins"), folder / "bin.info", 224, 224)
        lines = (folder / "bin.info").read_text(encoding="utf-8").split("\n")
        assert len(lines) == count + 1
        assert all(line.split(" ")[2:] == ["224", "224"] for line in lines[:-1])


TOML = """
schema_version = 1
name = "{name}"
architecture = "onnx only"
[input]
name = "image"
channels = {channels}
height = 224
width = 224
colour_order = "RGB"
[preprocessing]
resize_side = {side}
crop_size = 224
mean = [0.5, 0.5, {mean}]
std = [0.5, 0.5, {std}]
[output]
name = "class"
class_count = {count}
"""
NUMBERS = st.sampled_from(
    ["0", "1", "3", "-1", "1e400", "nan", "inf", "256", '"3"', "[]", "99999999999999999999", ""]
)


@SMALL
@given(
    content=st.binary(max_size=200)
    | st.builds(
        TOML.format,
        name=st.text(max_size=5),
        channels=NUMBERS,
        side=NUMBERS,
        mean=NUMBERS,
        std=NUMBERS,
        count=NUMBERS,
    ).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_as_model_record_are_read_or_refused(place: Path, content: bytes) -> None:
    path = place / "record.toml"
    path.write_bytes(content)
    with contextlib.suppress(BadModelError):
        record = read_model_record(str(path))
        assert record.input.channels == 3
        assert record.output.class_count >= 1


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python"
)
@pytest.mark.parametrize(
    ("fuzzer", "count"),
    [
        ("fuzz_images.py", 1000),
        pytest.param("fuzz_images.py", 3000, marks=pytest.mark.slow),
        pytest.param("fuzz_archives.py", 3000, marks=pytest.mark.slow),
        pytest.param("fuzz_parquet.py", 3000, marks=pytest.mark.slow),
        pytest.param("fuzz_checkpoints.py", 1000, marks=pytest.mark.slow),
        pytest.param("fuzz_bundles.py", 500, marks=pytest.mark.slow),
        pytest.param("fuzz_records.py", 3000, marks=pytest.mark.slow),
    ],
)
def test_the_guided_fuzzers_find_nothing_at_once(fuzzer: str, count: int, tmp_path: Path) -> None:
    limits = [f"-runs={count}", "-seed=1", "-timeout=60", "-rss_limit_mb=2048"]
    # A program takes over the peak memory of the process that starts it; a shell between them has little.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    command = [*shell, sys.executable, str(FOLDER / fuzzer), str(tmp_path / "corpus"), *limits]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {count} runs" in done.stderr
