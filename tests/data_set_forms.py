"""Writes labelled images in each form that data sets are held in."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An encoded image, its label and the synset of that."""

    content: bytes
    label: int
    synset: str


Images = Mapping[str, Encoded]


def write_flat(path: Path, images: Images) -> None:
    path.mkdir()
    for name, image in images.items():
        (path / name).write_bytes(image.content)


def write_synset_folders(path: Path, images: Images) -> None:
    for name, image in images.items():
        (path / image.synset).mkdir(parents=True, exist_ok=True)
        (path / image.synset / name).write_bytes(image.content)


def write_number_folders(path: Path, images: Images) -> None:
    for name, image in images.items():
        (path / str(image.label)).mkdir(parents=True, exist_ok=True)
        (path / str(image.label) / name).write_bytes(image.content)


def write_padded_folders(path: Path, images: Images) -> None:
    for name, image in images.items():
        (path / f"{image.label:04d}").mkdir(parents=True, exist_ok=True)
        (path / f"{image.label:04d}" / name).write_bytes(image.content)


def write_tar_members(path: Path, members: Mapping[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_tar(path: Path, images: Images) -> None:
    """With a folder before each name, in an order that is not the names'."""
    write_tar_members(path, {f"val/{name}": images[name].content for name in sorted(images, reverse=True)})


def write_gzipped_tar(path: Path, images: Images) -> None:
    members = {name: images[name].content for name in sorted(images, reverse=True)}
    write_tar_members(path, members, "w:gz")


def write_zip(path: Path, images: Images) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, image in images.items():
            archive.writestr(f"{image.synset}/{name}", image.content)


def write_webdataset(path: Path, images: Images) -> None:
    path.mkdir()
    names = sorted(images, reverse=True)
    for number in range(2):
        members = {}
        for name in names[number::2]:
            members[name] = images[name].content
            members[f"{name.split('.')[0]}.cls"] = f"{images[name].label}\n".encode()
        write_tar_members(path / f"{number:05d}.tar", members)


def write_parquet(path: Path, images: Images, **columns: object) -> None:
    """As Hugging Face's `datasets` writes it: a struct of bytes and path, and a label."""
    path.mkdir()
    names = sorted(images, reverse=True)
    half = len(names) // 2
    for number, part in enumerate([names[:half], names[half:]]):
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        rows = [{"bytes": images[name].content, "path": name} for name in part]
        table = pyarrow.table(
            {
                "image": pyarrow.array(rows, kind),
                "label": pyarrow.array([images[name].label for name in part], pyarrow.int64()),
            }
        )
        pq.write_table(table, path / f"validation-{number:05d}-of-00002.parquet", row_group_size=7, **columns)


def write_path_list(path: Path, images: Images) -> None:
    write_synset_folders(path.with_suffix(".images"), images)
    lines = [f"{path.stem}.images/{image.synset}/{name} {image.label}\n" for name, image in images.items()]
    path.write_text("".join(lines))


def write_kaggle(path: Path, images: Images) -> None:
    place = path / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    place.mkdir(parents=True)
    lines = ["ImageId,PredictionString\n"]
    for name, image in images.items():
        (place / name).write_bytes(image.content)
        lines.append(f"{name.rpartition('.')[0]},{image.synset} 1 2 30 40 \n")
    (path / "LOC_val_solution.csv").write_text("".join(lines))


FORMS: dict[str, Callable[[Path, Images], None]] = {
    "synset folders": write_synset_folders,
    "number folders": write_number_folders,
    "padded number folders": write_padded_folders,
    "zip": write_zip,
    "WebDataset": write_webdataset,
    "Parquet": write_parquet,
    "list of paths": write_path_list,
    "Kaggle": write_kaggle,
}
"""The forms that hold labels."""
UNLABELLED_FORMS: dict[str, Callable[[Path, Images], None]] = {
    "flat folder": write_flat,
    "tar": write_tar,
    "tar.gz": write_gzipped_tar,
}
"""The forms that need a label file, or names of ImageNet validation images."""
