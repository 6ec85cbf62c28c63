"""What the header of a JPEG file says, without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

JPEG_MAGIC = b"\xff\xd8\xff"
# Start-of-frame markers that are no DCT with Huffman codes
_UNSUPPORTED = {
    3: "lossless",
    5: "hierarchical",
    6: "hierarchical",
    7: "hierarchical",
    9: "arithmetic coding",
    10: "arithmetic coding",
    11: "lossless",
    13: "arithmetic coding",
    14: "arithmetic coding",
    15: "arithmetic coding",
}
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables among the start-of-frame markers
_APP1, _EXIF = 0xE1, b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION, _SHORT = 0x0112, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class JpegFrame:
    """A start-of-frame segment; a height of 0 is told at the end of the scan."""

    process: int
    precision: int
    height: int
    width: int
    component_count: int


def _walk_segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Yield (marker, where its contents begin) of each segment, up to the first frame."""
    place = 2
    while place + 10 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # padding before a marker
            place += 1
            continue
        yield marker, place + 4
        if _is_frame(marker):
            return
        place += 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES


def find_frame(encoded: bytes) -> JpegFrame | None:
    """Find the first frame of a JPEG; None where there is none."""
    for marker, start in _walk_segments(encoded):
        if _is_frame(marker):
            precision, height, width, component_count = struct.unpack_from(">BHHB", encoded, start)
            return JpegFrame(
                process=marker - 0xC0,
                precision=precision,
                height=height,
                width=width,
                component_count=component_count,
            )
    return None


def count_scans(encoded: bytes) -> int:
    """Count the scans of a JPEG, each of which the decoder goes over the whole picture for.

    In the compressed data no such marker can stand (ITU T.81, B.1.1.2); a thumbnail in its header adds some.
    """
    return encoded.count(b"\xff\xda")


def name_unsupported_process(encoded: bytes) -> str:
    """Name what decoders differ on: lossless, arithmetic, 12 bits; empty for an ordinary JPEG."""
    frame = find_frame(encoded)
    if frame is None:
        return ""
    if frame.process in _UNSUPPORTED:
        return _UNSUPPORTED[frame.process]
    if frame.precision != 8:
        return f"{frame.precision} bits"
    return "" if frame.height else "height 0 in its header"


def find_orientation(encoded: bytes) -> int:
    """Find the EXIF orientation of a JPEG, 1 to 8; 0 where there is none that is valid.

    Read from the first directory of the TIFF structure in the EXIF segment (CIPA DC-008, 4.6.2).
    """
    for marker, start in _walk_segments(encoded):
        if marker == _APP1 and encoded.startswith(_EXIF, start):
            return _read_orientation(encoded, start + len(_EXIF))
    return 0


def _read_orientation(encoded: bytes, start: int) -> int:
    """Read the orientation in the TIFF structure that begins at `start`, 0 where there is none."""
    order = _BYTE_ORDERS.get(encoded[start : start + 4])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", encoded, start + 4)
        (entry_count,) = struct.unpack_from(f"{order}H", encoded, start + directory)
        for number in range(entry_count):
            entry = start + directory + 2 + 12 * number
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", encoded, entry)
            if tag == _ORIENTATION:
                return value if (kind, count) == (_SHORT, 1) and 1 <= value <= 8 else 0
    except struct.error:  # the structure leads out of the file: corrupt, and ignored anyway
        return 0
    return 0
