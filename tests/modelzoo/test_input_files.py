"""Input folders are read as the inference tool reads them (facts ascend.md 1.4, 1.5), without its traps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.errors import BadInputError
from assay.models.record import ModelRecord
from assay.modelzoo.input_files import list_input_files, plan_batches, read_batch

IMAGE_BYTES = 602_112


def write_bins(folder: Path, *names: str, value_count: int = IMAGE_BYTES // 4) -> list[str]:
    """Files full of their own number, in the order of the names."""
    for number, name in enumerate(names):
        np.full(value_count, number, dtype=np.float32).tofile(folder / name)
    return [str(folder / name) for name in names]


def test_the_order_is_natural_and_regardless_of_case(tmp_path: Path) -> None:
    for name in ["img_10.bin", "img_9.bin", "IMG_8.bin", "b2a10.npy", "b2a9.BIN", "b10.NPY"]:
        (tmp_path / name).touch()
    names = [Path(path).name for path in list_input_files(str(tmp_path))]
    assert names == ["b2a9.BIN", "b2a10.npy", "b10.NPY", "IMG_8.bin", "img_9.bin", "img_10.bin"]


def test_only_bin_and_npy_files_of_the_folder_itself_are_read(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ["a.bin", "b.txt", "c.Bin", ".DS_Store", "below/d.bin"]:
        (tmp_path / name).touch()
    assert list_input_files(f"{tmp_path}/") == [f"{tmp_path}/a.bin"]


def test_files_may_be_given_one_by_one_in_their_own_order(tmp_path: Path) -> None:
    b, a = write_bins(tmp_path, "b.bin", "a.bin", value_count=1)
    assert list_input_files(f"{b},{a}") == [b, a]


@pytest.mark.parametrize(
    ("source", "message"),
    [("empty", "no files there"), ("gone", "no such folder or file"), ("x.txt", "expected a .bin or .npy")],
)
def test_a_source_without_input_files_is_refused(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").touch()
    with pytest.raises(BadInputError, match=message):
        list_input_files(str(tmp_path / source))


def test_quirk_2_files_whose_results_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    write_bins(tmp_path, "a.bin", "a.v2.bin", value_count=1)
    with pytest.raises(BadInputError, match=r"a\.bin and .*a\.v2\.bin: both results would be named a_0"):
        list_input_files(str(tmp_path))


def test_as_many_files_as_fill_the_batch_share_a_run_and_the_last_is_padded_with_its_first(
    tmp_path: Path, se_resnext50: ModelRecord
) -> None:
    paths = write_bins(tmp_path, *(f"{number}.bin" for number in range(6)))
    plan = plan_batches(paths, se_resnext50, batch_size=4)
    assert [batch.paths for batch in plan.batches] == [tuple(paths[:4]), tuple(paths[4:])]
    last = read_batch(plan.batches[1], plan, se_resnext50)
    assert last.shape == (4, 3, 224, 224)
    assert last[:, 0, 0, 0].tolist() == [4, 5, 4, 4]


def test_a_file_may_hold_a_whole_batch(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    paths = write_bins(tmp_path, "a.bin", "b.bin", value_count=2 * IMAGE_BYTES // 4)
    plan = plan_batches(paths, se_resnext50, batch_size=None)
    assert (plan.batch_size, plan.rows_per_file, len(plan.batches)) == (2, 2, 2)


def test_arrays_are_read_by_their_header(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    np.save(tmp_path / "a.npy", np.asfortranarray(image))
    plan = plan_batches([str(tmp_path / "a.npy")], se_resnext50, batch_size=None)
    np.testing.assert_array_equal(read_batch(plan.batches[0], plan, se_resnext50), image)


@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.float64, (3, 224, 224)), (np.uint8, (3, 224, 224)), (np.float32, (224, 224, 3))]
)
def test_arrays_of_another_type_or_layout_are_refused(
    tmp_path: Path, se_resnext50: ModelRecord, dtype: type, shape: tuple[int, ...]
) -> None:
    """The tool takes their bytes for float32 in channels-first order (facts 1.4)."""
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype=dtype))
    with pytest.raises(BadInputError, match=r"expected float32 \(N, 3, 224, 224\)"):
        plan_batches([str(tmp_path / "a.npy")], se_resnext50, batch_size=None)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "message"),
    [
        ((0,), None, "0 bytes of values"),
        ((IMAGE_BYTES - 4,), None, "602,108 bytes of values; a float32 image of the model has 602,112"),
        ((IMAGE_BYTES, IMAGE_BYTES - 4), None, r"1\.bin: 602,108 bytes of values; .*0\.bin has 602,112"),
        ((2 * IMAGE_BYTES,), 3, "2 images, which do not divide a batch of 3"),
    ],
)
def test_quirk_5_wrong_sizes_are_found_before_anything_runs(
    tmp_path: Path, se_resnext50: ModelRecord, sizes: tuple[int, ...], batch_size: int | None, message: str
) -> None:
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.bin").write_bytes(bytes(size))
    with pytest.raises(BadInputError, match=message):
        plan_batches(list_input_files(str(tmp_path)), se_resnext50, batch_size)
