"""The archives that ImageNet is published in: which is the right one, and how the others are known."""

from __future__ import annotations

from assay.errors import BadImagesError
from assay.images.listing import Listing

VAL_ARCHIVE_NAME = "ILSVRC2012_img_val.tar"
VAL_ARCHIVE_BYTES = 6_744_924_160  # torchvision, TFDS
VAL_ARCHIVE_SHA256 = "c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0"  # TFDS
_TEST_NAME = "ILSVRC2012_test_"
_OTHERS = {
    ".tar": f"holds archives: this is the training set; the validation images are in {VAL_ARCHIVE_NAME}",
    ".xml": f"holds XML files: these are bounding boxes; the validation images are in {VAL_ARCHIVE_NAME}",
}


def refuse_other_archives(path: object, listing: Listing) -> None:
    """Refuse the archives of ImageNet that are taken for the validation images by mistake.

    Raises:
        BadImagesError: Training archives, bounding boxes, or test images, whose labels are not public.
    """
    if listing.images and all(image.name.startswith(_TEST_NAME) for image in listing.images):
        raise BadImagesError(
            f"--images {path}: holds ImageNet's test images, whose labels are not public",
            hint=f"the validation images are in {VAL_ARCHIVE_NAME}",
        )
    for suffix, meaning in _OTHERS.items():
        if not listing.images and any(name.lower().endswith(suffix) for name in listing.ignored):
            raise BadImagesError(f"--images {path}: {meaning}")
