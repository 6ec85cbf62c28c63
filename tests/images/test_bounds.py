"""Inputs that are small and would cost much: each is bounded."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from assay.errors import BadImagesError, SourceError, UndecodableImageError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.decode import MAX_SCANS, decode_image
from assay.images.forms.local_file import describe_file
from assay.images.forms.tar_archives import MAX_HEADER_BYTES, read_tar_files
from assay.images.sources import index_images


def write_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    encoded = write_jpeg()
    start = encoded.rindex(b"\xff\xda")
    last_scan = encoded[start:-2]
    bomb = encoded[:-2] + last_scan * 10_000 + encoded[-2:]
    with pytest.raises(UndecodableImageError, match=f"too many scans: 10,0.., over {MAX_SCANS}"):
        decode_image(bomb)
    assert decode_image(encoded).pixels.shape == (64, 64, 3)


def test_of_a_tiff_of_many_directories_few_are_counted() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("L", (1, 1), number % 256) for number in range(300)]
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    assert decode_image(buffer.getvalue()).note == "first of several frames"


def test_a_file_that_was_replaced_by_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.JPEG"
    path.write_bytes(b"1234")
    listed = describe_file(path, path.stat())
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match="it is no file any more"):
        listed.read_bytes()


def test_a_file_that_grew_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.JPEG"
    path.write_bytes(b"1234")
    listed = describe_file(path, path.stat())
    os.truncate(path, 2**40)  # sparse: takes no space on the disk, and no memory holds it
    with pytest.raises(SourceError, match="expected 4 bytes, found 1,099,511,627,776"):
        listed.read_bytes()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_gigabytes_in_a_tar_archive_is_not_read(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 2**40
    path = tmp_path / "val.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2 * tarfile.BLOCKSIZE))
    with pytest.raises(BadImagesError, match=f"a header of .* bytes, over {MAX_HEADER_BYTES:,}"):
        read_tar_files(path)


def test_memory_that_runs_out_is_no_fault_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_given: object, **_options: object) -> object:
        raise MemoryError

    encoded = write_jpeg()
    monkeypatch.setattr("simplejpeg.decode_jpeg", run_out)
    with pytest.raises(MemoryError):
        decode_image(encoded)
    bitmap = (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4)
    )
    monkeypatch.setattr(Image, "open", run_out)
    with pytest.raises(MemoryError):
        decode_image(bitmap)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.JPEG", "link.JPEG"])
def test_what_a_list_names_besides_files_is_no_image_and_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.JPEG").write_bytes(write_jpeg())
    os.mkfifo(tmp_path / "pipe.JPEG")
    (tmp_path / "link.JPEG").symlink_to("/dev/zero")
    (tmp_path / "list.txt").write_text(f"a.JPEG 1\n{name} 2\n")
    images = index_images(tmp_path / "list.txt", IMAGENET_CLASSES).images
    assert {image.relative_path: image.fault for image in images} == {
        "a.JPEG": "",
        name: "unreadable: not a file",
    }
    (other,) = [image for image in images if image.fault]
    with pytest.raises(SourceError, match="no file"):
        other.read_bytes()


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="needs Linux")
def test_a_kernel_log_in_a_list_is_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.JPEG").write_bytes(write_jpeg())
    (tmp_path / "list.txt").write_text("a.JPEG 1\n/proc/kmsg 2\n")
    images = index_images(tmp_path / "list.txt", IMAGENET_CLASSES).images
    assert [image.fault for image in images if image.name == "kmsg"] == ["not decodable: empty file"]
