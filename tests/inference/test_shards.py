from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import BadInputError
from assay.images.listing import LabelledImage
from assay.inference.predictions import Prediction
from assay.inference.shards import (
    StoredPredictions,
    cut_shards,
    find_fault,
    has_shard,
    read_shard,
    write_shard,
)

MakeSource = Callable[..., LabelledImage]
PREDICTION = Prediction(
    name="a.JPEG",
    relative_path="n01440764/a.JPEG",
    label=7,
    status="ok",
    note="odd",
    top_classes=(7, 1, 2, 3, 4),
    top_logits=(5.5, 4.5, 3.5, 2.5, 1.5),
    log_sum_exp=6.0,
)
FAILED = Prediction(name="b", relative_path="b", label=None, status="not decodable: empty file")
FLOATS = st.floats(width=32, allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PREDICTIONS = st.builds(
    Prediction,
    name=TEXT,
    relative_path=TEXT,
    label=st.none() | st.integers(0, 2**31 - 1),
    status=TEXT,
    note=TEXT,
    top_classes=st.lists(st.integers(0, 2**31 - 1), max_size=5).map(tuple),
    top_logits=st.lists(FLOATS, max_size=5).map(tuple),
    log_sum_exp=st.none() | FLOATS,
)


@settings(deadline=None, max_examples=40)
@given(predictions=st.lists(PREDICTIONS, max_size=5))
def test_what_is_written_is_read_back(
    predictions: list[Prediction], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("shard") / "part-00000.parquet"
    write_shard(path, predictions, "fingerprint")
    assert read_shard(path) == predictions
    assert has_shard(path, "fingerprint")


def test_a_part_of_an_older_version_is_read_without_the_later_column(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [PREDICTION, FAILED], "fingerprint")
    pq.write_table(pq.read_table(path).drop_columns(["log_sum_exp"]), path)
    assert read_shard(path) == [dataclasses.replace(PREDICTION, log_sum_exp=None), FAILED]


def test_kept_logits_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    logits = np.array([1 / 3, -0.0, 1e-42, 3e38], dtype=np.float32)
    path = tmp_path / "part-00000.parquet"
    write_shard(
        path, [dataclasses.replace(PREDICTION, logits=logits), FAILED], "fingerprint", keep_logits=True
    )
    kept, failed = read_shard(path, keep_logits=True)
    assert kept.logits is not None
    assert kept.logits.dtype == np.float32
    assert kept.logits.tobytes() == logits.tobytes()
    assert failed.logits is None


def test_the_columns_are_those_that_others_read(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [PREDICTION, FAILED], "fingerprint")
    schema = pq.read_schema(path)
    types = {name: schema.field(name).type for name in schema.names}
    assert types["name"] == types["status"] == pyarrow.string()
    assert types["label"] == pyarrow.int32()
    assert pyarrow.types.is_list(types["top_classes"])
    assert types["top_classes"].value_type == pyarrow.int32()
    assert pyarrow.types.is_list(types["top_logits"])
    assert types["top_logits"].value_type == pyarrow.float32()
    assert "logits" not in types
    assert pq.read_table(path).column("top_classes").to_pylist() == [[7, 1, 2, 3, 4], []]


def test_the_column_of_kept_logits_is_float32_even_where_every_image_failed(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [FAILED], "fingerprint", keep_logits=True)
    assert pq.read_schema(path).field("logits").type.value_type == pyarrow.float32()


def test_a_shard_that_is_missing_or_of_another_run_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    assert not has_shard(path, "fingerprint")
    write_shard(path, [PREDICTION], "another fingerprint")
    assert not has_shard(path, "fingerprint")


def test_a_parquet_file_of_somebody_else_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    pq.write_table(pyarrow.table({"name": ["a"]}), path)
    assert not has_shard(path, "fingerprint")
    with pytest.raises(BadInputError, match=r"part-00000\.parquet cannot be read"):
        read_shard(path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 0.99])
def test_a_torn_shard_is_not_there(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [PREDICTION] * 50, "fingerprint")
    encoded = path.read_bytes()
    path.write_bytes(encoded[: int(kept * len(encoded))])
    assert not has_shard(path, "fingerprint")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_shard(path)


def test_a_shard_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [PREDICTION], "fingerprint")
    too_large = dataclasses.replace(PREDICTION, label=2**31)
    with pytest.raises((OverflowError, pyarrow.ArrowException)):
        write_shard(path, [too_large], "another fingerprint")
    assert has_shard(path, "fingerprint")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@settings(deadline=None)
@given(count=st.integers(0, 60), shard_size=st.integers(1, 70))
def test_shards_hold_every_image_once_in_order(count: int, shard_size: int) -> None:
    images = [
        LabelledImage(relative_path=f"{n}", label=n, size_bytes=n, read_bytes=bytes) for n in range(count)
    ]
    shards = cut_shards(images, shard_size)
    assert [image for shard in shards for image in shard.images] == images
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert all(len(shard.images) == shard_size for shard in shards[:-1])
    assert all(shard.images for shard in shards)


def test_a_shards_file_is_named_by_its_number(make_source: MakeSource) -> None:
    shards = cut_shards([make_source(f"{n}", 0) for n in range(43)], 1)
    assert shards[42].file_name == "part-00042.parquet"


def test_one_flipped_bit_anywhere_never_changes_a_prediction_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    logits = np.array([1, 2, 3], dtype=np.float32)
    rows = [dataclasses.replace(PREDICTION, logits=logits), FAILED] * 50
    write_shard(path, rows, "fingerprint", keep_logits=True)
    whole = path.read_bytes()
    expected = pq.read_table(path).to_pylist()
    flips = random.Random(4).sample(range(8 * len(whole)), 300)
    for bit in flips:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        if has_shard(path, "fingerprint"):
            assert pq.read_table(path).to_pylist() == expected, bit


def test_a_damaged_shard_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [PREDICTION, FAILED], "fingerprint")
    table = pq.read_table(path)
    labels = pyarrow.array([8, None], pyarrow.int32())
    pq.write_table(table.set_column(2, table.schema.field("label"), labels), path)
    assert find_fault(path, "fingerprint") == "damaged"
    with pytest.raises(BadInputError, match="damaged: column 'label'"):
        read_shard(path)
    with pytest.raises(BadInputError, match="damaged: column 'label'"):
        StoredPredictions(paths=[path]).read_table()


def test_a_shard_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_shard(path, [PREDICTION], "fingerprint")
    copy = tmp_path / "part-00001.parquet"
    copy.write_bytes(path.read_bytes())
    assert find_fault(copy, "fingerprint") == "a copy of part-00000.parquet"
