import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, JpegImagePlugin

from assay.errors import BadImagesError
from assay.images.drawn_images import DRAWN_CLASSES, draw_labelled_images, draw_picture

COUNT = 100
SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # as Pillow's get_sampling numbers them


def hash_files(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def read_labels(path: Path) -> list[int]:
    return [int(line.split()[1]) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=COUNT, seed=3)
    return folder


def test_every_image_has_one_line_of_labels(drawn: Path) -> None:
    names = [line.split()[0] for line in (drawn / "labels.txt").read_text().splitlines()]
    assert names == sorted(file.name for file in (drawn / "images").iterdir())


def test_images_are_numbered_from_0(drawn: Path) -> None:
    assert min(file.name for file in (drawn / "images").iterdir()) == "drawn_00000.JPEG"
    assert len(list((drawn / "images").iterdir())) == COUNT


def test_labels_are_every_fiftieth_of_imagenets(drawn: Path) -> None:
    assert sorted(set(read_labels(drawn / "labels.txt"))) == list(range(25, 1000, 50))


def test_every_20_images_show_all_classes(drawn: Path) -> None:
    labels = read_labels(drawn / "labels.txt")
    assert all(len(set(labels[start : start + 20])) == 20 for start in range(0, COUNT, 20))


def test_classes_come_in_another_order_in_every_round(drawn: Path) -> None:
    labels = read_labels(drawn / "labels.txt")
    assert labels[:20] != labels[20:40]


def test_jpegs_are_baseline_and_progressive_grey_and_of_each_subsampling(drawn: Path) -> None:
    kinds: Counter[str] = Counter()
    for file in (drawn / "images").iterdir():
        with Image.open(file) as picture:
            assert picture.format == "JPEG"
            progressive = "progressive" in picture.info
            kinds["progressive" if progressive else "baseline"] += 1
            kinds["grey" if picture.mode == "L" else SUBSAMPLINGS[JpegImagePlugin.get_sampling(picture)]] += 1
    assert set(kinds) == {"progressive", "baseline", "grey", "4:4:4", "4:2:2", "4:2:0"}


def test_sizes_and_aspect_ratios_vary_widely(drawn: Path) -> None:
    headers = [simplejpeg.decode_jpeg_header(file.read_bytes()) for file in (drawn / "images").iterdir()]
    sizes = [(width, height) for height, width, *_ in headers]
    assert min(min(size) for size in sizes) < 256
    assert max(min(size) for size in sizes) > 600
    aspects = [width / height for width, height in sizes]
    assert 1 / 2.51 < min(aspects) < 0.7
    assert 1.5 < max(aspects) < 2.51


def test_another_decoder_reads_the_same_size(drawn: Path) -> None:
    file = drawn / "images" / "drawn_00000.JPEG"
    with Image.open(file) as picture:
        width, height = picture.size
    assert simplejpeg.decode_jpeg(file.read_bytes()).shape == (height, width, 3)


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_labelled_images(tmp_path / name, tmp_path / f"{name}.txt", image_count=8, seed=5)
    assert hash_files(tmp_path / "a") == hash_files(tmp_path / "b")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    for seed in (5, 6):
        draw_labelled_images(tmp_path / str(seed), tmp_path / f"{seed}.txt", image_count=4, seed=seed)
    assert not set(hash_files(tmp_path / "5").values()) & set(hash_files(tmp_path / "6").values())


def test_more_images_begin_with_the_same_ones(drawn: Path, tmp_path: Path) -> None:
    draw_labelled_images(tmp_path / "few", tmp_path / "few.txt", image_count=5, seed=3)
    assert hash_files(tmp_path / "few").items() <= hash_files(drawn / "images").items()


@pytest.mark.parametrize("count", [0, -1, 100_001])
def test_a_count_out_of_range_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match=f"found {count}"):
        draw_labelled_images(tmp_path / "images", tmp_path / "labels.txt", image_count=count, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_rgb_bytes() -> None:
    pixels = draw_picture(0, np.random.default_rng(1))
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)


@pytest.mark.parametrize("class_index", range(len(DRAWN_CLASSES)))
def test_a_picture_of_a_class_has_the_hue_of_its_ground(class_index: int) -> None:
    pixels = draw_picture(class_index, np.random.default_rng(class_index))
    hue, saturation, _ = np.moveaxis(np.asarray(Image.fromarray(pixels).convert("HSV")), 2, 0)
    turns = np.exp(2j * np.pi * hue[saturation > 60] / 256)
    away = np.angle(np.mean(turns) * np.exp(-2j * np.pi * DRAWN_CLASSES[class_index].ground_hue))
    assert abs(away) / (2 * np.pi) < 0.25


@pytest.mark.parametrize("class_index", [-1, 20])
def test_a_class_that_is_not_there_is_refused(class_index: int) -> None:
    with pytest.raises(BadImagesError, match=f"found {class_index}"):
        draw_picture(class_index, np.random.default_rng(0))
