from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from assay.errors import BadModelError
from assay.models.preprocessing import Preprocessing
from assay.models.read_record import list_model_names, read_model_record
from assay.models.record import ModelRecord

TOML = resources.files("assay.models").joinpath("se_resnext50_32x4d.toml").read_text(encoding="utf-8")


@pytest.fixture
def own_record(tmp_path: Path) -> Path:
    return tmp_path / "my_model.toml"


def expect_refusal(own_record: Path, old: str, new: str, message: str) -> None:
    """Expect that the shipped record with one thing changed is refused, by its path and the reason."""
    assert TOML.count(old) >= 1
    own_record.write_text(TOML.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadModelError, match=f"(?s){re.escape(str(own_record))}.*{message}"):
        read_model_record(str(own_record))


def find_published_rates(record: ModelRecord, device: str) -> dict[int, float]:
    (rates,) = [column.images_per_second for column in record.published_throughput if column.device == device]
    return rates


def test_the_published_throughput_is_the_ascend_readmes(se_resnext50: ModelRecord) -> None:
    # Ascend ModelZoo-PyTorch, SE-ResNeXt50_32x4d README: batch 1, 4, 8, 16, 32, 64; T4 as the README gives it
    published = {
        "Ascend 310": [786.26, 941.04, 1030.82, 1113.52, 995.492, 953.8],
        "Ascend 310P": [1006.47, 1804.86, 1507.69, 1396.36, 600.3, 1198.41],
    }
    for device, rates in published.items():
        assert find_published_rates(se_resnext50, device) == dict(
            zip((1, 4, 8, 16, 32, 64), rates, strict=True)
        )
    t4 = find_published_rates(se_resnext50, "NVIDIA T4")
    assert (t4[1], t4[64]) == (549.747, 1054.064)


def test_published_throughput_says_its_source_and_clock(se_resnext50: ModelRecord) -> None:
    for column in se_resnext50.published_throughput:
        assert (column.source, column.clock) == (
            "Ascend ModelZoo-PyTorch, SE-ResNeXt50_32x4d README",
            "device",
        )


def test_the_published_accuracies_are_cadenes_timms_and_ascends(se_resnext50: ModelRecord) -> None:
    found = {
        (row.source.split()[0].strip(",").split("/")[0], row.setting): (row.top1_percent, row.top5_percent)
        for row in se_resnext50.published_accuracy
    }
    assert found == {
        ("Cadene", "PyTorch"): (79.076, 94.434),
        ("timm", "PyTorch"): (79.080, 94.428),
        ("Ascend", "Ascend 310, batch 1"): (79.05, 94.44),
        ("Ascend", "Ascend 310, best batch"): (79.06, 94.44),
        ("Ascend", "Ascend 310P"): (79.06, 94.44),
    }


def test_the_preprocessing_is_the_original_scripts(se_resnext50: ModelRecord) -> None:
    preprocessing = se_resnext50.preprocessing
    assert (preprocessing.resize_side, preprocessing.crop_size) == (256, 224)
    assert (preprocessing.resize_filter, preprocessing.crop_rounding) == ("bilinear", "modelzoo")
    assert preprocessing.mean == (0.485, 0.456, 0.406)
    assert preprocessing.std == (0.229, 0.224, 0.225)
    assert preprocessing.pixel_scale == 255


def test_the_weights_are_the_two_published_files(se_resnext50: ModelRecord) -> None:
    assert [(file.file_name, file.sha256_prefix) for file in se_resnext50.weights] == [
        ("legacy_se_resnext50_32x4d-f3651bad.pth", "f3651bad"),
        ("se_resnext50_32x4d-a260b3a4.pth", "a260b3a4"),
    ]


def test_every_shipped_record_is_read_by_its_name() -> None:
    assert "se_resnext50_32x4d" in list_model_names()
    for name in list_model_names():
        assert read_model_record(name).name == name


def test_a_users_own_record_is_read_by_its_path(own_record: Path, se_resnext50: ModelRecord) -> None:
    own_record.write_text(TOML, encoding="utf-8")
    assert read_model_record(str(own_record)) == se_resnext50


def test_a_background_class_leaves_one_label_fewer(own_record: Path) -> None:
    text = TOML.replace("class_count = 1000", "class_count = 1001").replace(
        "label_offset = 0", "label_offset = 1"
    )
    own_record.write_text(text, encoding="utf-8")
    assert read_model_record(str(own_record)).label_count == 1000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label_offset = 0", "label_ofset = 0", "label_ofset"),
        ('architecture = "se_resnext50_32x4d"', "", "architecture"),
        ("resize_side = 256", "", "resize_side"),
        ("class_count = 1000", 'class_count = "1000"', "class_count"),
        ('resize_filter = "bilinear"', 'resize_filter = "mitchell"', "mitchell"),
        ('colour_order = "RGB"', 'colour_order = "GBR"', "GBR"),
        ("mean = [0.485, 0.456, 0.406]", "mean = [0.485]", "mean"),
        ("pixel_scale = 255.0", "pixel_scale = 0.0", "pixel_scale"),
        ("top1_percent = 79.076", "top1_percent = 7907.6", "top1_percent"),
        ('sha256_prefix = "f3651bad"', 'sha256_prefix = "F3651BAD"', "sha256_prefix"),
        ('clock = "device"', 'clock = "wall"', "clock"),
        ("schema_version = 1", "schema_version = 2", "schema_version"),
        ('name = "se_resnext50_32x4d"', 'name = "../elsewhere"', "name"),
        ("[input]", "[input", "model-record"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_unknown_missing_or_wrong_key_is_refused(
    own_record: Path, old: str, new: str, message: str
) -> None:
    expect_refusal(own_record, old, new, message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_size = 224", "crop_size = 200", "input is 224x224.*200x200"),
        ("height = 224", "height = 225", "input is 225x224"),
        ("resize_side = 256", "resize_side = 223", "larger than the resized picture"),
        ("std = [0.229, 0.224, 0.225]", "std = [0.229, 0.0, 0.225]", "not above 0"),
        ("label_offset = 0", "label_offset = 1000", "label_offset is not below"),
    ],
    ids=["crop", "input", "resize", "std", "offset"],
)
def test_facts_that_contradict_one_another_are_refused(
    own_record: Path, old: str, new: str, message: str
) -> None:
    expect_refusal(own_record, old, new, message)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("std = [0.229,", "std = [nan,"),
        ("mean = [0.485,", "mean = [inf,"),
        ("pixel_scale = 255.0", "pixel_scale = inf"),
        ("{ 1 = 786.26,", "{ 1 = -786.26,"),
        ("{ 1 = 786.26,", "{ 1 = 0.0,"),
        ("{ 1 = 786.26, 4 = 941.04, 8 = 1030.82, 16 = 1113.52, 32 = 995.492, 64 = 953.8 }", "{}"),
    ],
    ids=["std nan", "mean inf", "scale inf", "negative rate", "no rate", "no rates"],
)
def test_impossible_values_are_refused(own_record: Path, old: str, new: str) -> None:
    expect_refusal(own_record, old, new, ".")


def test_a_record_that_is_not_utf_8_is_refused(own_record: Path) -> None:
    own_record.write_bytes(b'name = "\xff"')
    with pytest.raises(BadModelError, match="my_model"):
        read_model_record(str(own_record))


def test_a_record_that_is_not_there_is_refused(own_record: Path) -> None:
    with pytest.raises(BadModelError, match="cannot be read: No such file"):
        read_model_record(str(own_record))


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(BadModelError, match=r"(?s)'se_resnext50'.*did you mean se_resnext50_32x4d"):
        read_model_record("se_resnext50")


def test_another_name_is_answered_with_all_names() -> None:
    with pytest.raises(BadModelError, match=r"(?s)'vgg'.*known: .*se_resnext50_32x4d.*\.toml"):
        read_model_record("vgg")


def make_preprocessing(pixel_scale: float, mean: float, std: float) -> Preprocessing:
    return Preprocessing(
        resize_side=256,
        resize_filter="bilinear",
        crop_size=224,
        pixel_scale=pixel_scale,
        mean=(mean, mean, mean),
        std=(std, std, std),
    )


@pytest.mark.parametrize(
    ("pixel_scale", "mean", "std"),
    [(255, 0.485, 0.229), (255, 0.5, 0.5), (255, 0, 1), (127.5, 1, 1), (1, 123.675, 58.395), (1, 103.94, 1)],
    ids=["ImageNet", "half", "0 to 1", "-1 to 1", "ImageNet in 0 to 255", "Caffe"],
)
def test_constants_of_known_networks_are_taken_without_a_note(
    pixel_scale: float, mean: float, std: float
) -> None:
    assert make_preprocessing(pixel_scale, mean, std).list_oddities() == []


@pytest.mark.parametrize(
    ("pixel_scale", "mean", "std", "complaint"),
    [
        (255, 127.5, 127.5, r"preprocessing.mean is .* 0 to 1 \(pixel_scale = 255\)"),
        (255, 0, 127.5, "images would span next to nothing"),
        (255, 255 / 2, 1, "preprocessing.mean"),
        (1, 0.485, 0.229, "images would span 1114"),
        (1, 300, 1, "preprocessing.mean"),
        (255, -0.5, 0.5, "preprocessing.mean"),
        (255, 0.5, -0.5, "not above 0"),
    ],
)
def test_constants_that_are_for_another_pixel_scale_are_refused(
    pixel_scale: float, mean: float, std: float, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_preprocessing(pixel_scale, mean, std)


@pytest.mark.parametrize(("pixel_scale", "mean", "std"), [(255, 0.5, 4), (1, 0.5, 1)])
def test_constants_that_are_seldom_meant_are_noted(pixel_scale: float, mean: float, std: float) -> None:
    assert len(make_preprocessing(pixel_scale, mean, std).list_oddities()) == 1


@pytest.mark.parametrize("url", ["https://me:s3cret@host/x.pth", "https://host/x.pth?token=s3cret"])
def test_credentials_in_a_url_are_refused_and_not_shown(own_record: Path, url: str) -> None:
    text = (
        TOML
        + f"""
[[weights]]
url = "{url}"
file_name = "x.pth"
sha256_prefix = "01234567"
licence = "none"
"""
    )
    own_record.write_text(text)
    with pytest.raises(BadModelError, match="a URL with credentials") as caught:
        read_model_record(str(own_record))
    assert "s3cret" not in str(caught.value)
