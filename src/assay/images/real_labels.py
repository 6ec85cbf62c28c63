"""Reads ReaL labels: for each ImageNet validation image the classes that people agreed are in it.

Source: Beyer et al., "Are we done with ImageNet?", arXiv 2006.07159; file `real.json` of
google-research/reassessed-imagenet: a list of 50,000 lists, in the order of the images' numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from assay.errors import BadImagesError, shorten
from assay.files import decode_json
from assay.images.labels import IMAGENET_VAL_COUNT, find_val_number

MAX_BYTES = 64 * 2**20
_EXPECTED = "expected real.json of reassessed-imagenet: a list of 50,000 lists of class indices"


class RealLabels:
    """The classes of each ImageNet validation image; none where people did not agree on any.

    Args:
        classes: Of the 50,000 images, in the order of their numbers.
        sha256: Of the file that they were read from, 64 hex digits.
    """

    def __init__(self, classes: list[list[int]], sha256: str) -> None:
        self.sha256 = sha256
        self._classes = [frozenset(accepted) for accepted in classes]

    def find(self, name: str) -> frozenset[int]:
        """The classes of an image by its name; none for a name that is no validation image's."""
        number = find_val_number(name)
        return self._classes[number - 1] if number else frozenset()


def read_real_labels(path: Path) -> RealLabels:
    """Read the ReaL labels of a file.

    Raises:
        BadImagesError: Unreadable, not such a list, of another length, or with classes out of range.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadImagesError(f"--real-labels {path}: over {MAX_BYTES:,} bytes", hint=_EXPECTED)
        content = path.read_bytes()
        classes = decode_json(content, kind=list[list[int]])
    except OSError as error:
        raise BadImagesError(f"--real-labels {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadImagesError(f"--real-labels {path}: {shorten(error)}", hint=_EXPECTED) from error
    if len(classes) != IMAGENET_VAL_COUNT:
        raise BadImagesError(f"--real-labels {path}: a list of {len(classes):,} lists", hint=_EXPECTED)
    if not all(0 <= label < 1000 for accepted in classes for label in accepted):
        raise BadImagesError(f"--real-labels {path}: a class outside 0 to 999", hint=_EXPECTED)
    return RealLabels(classes, hashlib.sha256(content).hexdigest())
