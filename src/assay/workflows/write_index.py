"""Images to an index file, which takes its place as the images of a run."""

from __future__ import annotations

from pathlib import Path

from assay.errors import UsageError
from assay.files import refuse_same_file
from assay.images.classes import Classes
from assay.images.request import ImageRequest, index_labelled_images, store_index
from assay.images.sources import ImageIndex
from assay.images.stored_index import StoredImages, is_index


def write_image_index(request: ImageRequest, classes: Classes, file: Path) -> ImageIndex:
    """List and label the images of a request, and write the index of them.

    Args:
        request: Which images: a folder, or tar archives that are not compressed.
        classes: The classes of the model that they are for.
        file: Where the index goes; an index that is there is replaced.

    Raises:
        UsageError: The images are held in another form, the file is in their folder or holds something else.
        BadImagesError: As `index_labelled_images`.
    """
    refuse_same_file(file, *request.inputs)
    if file.exists() and not is_index(file):
        raise UsageError(f"-o {file}: holds something that is no index", hint="choose another file")
    if file.resolve().is_relative_to(request.path.resolve()):
        raise UsageError(f"-o {file}: lies in the folder of the images", hint="write it elsewhere")
    index = store_index(file, index_labelled_images(request, classes), request, classes)
    if not isinstance(index.images, StoredImages):
        raise UsageError(
            f"{request.path}: {index.form}: only folders, and tar archives that are not "
            "compressed, have an index file",
            hint="give it to --images as it is",
        )
    return index
