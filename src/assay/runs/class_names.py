"""What the classes of a run are called: as its images name them, else as its model record does."""

from __future__ import annotations

from assay.images.classes import Classes, make_classes, name_classes
from assay.runs.results_file import Manifest


def find_classes(manifest: Manifest) -> Classes:
    """The classes of a run's model; none where the manifest holds no model yet."""
    images, record = manifest.image_set, manifest.model
    if record is None:
        return Classes(count=0)
    if images is not None and (images.class_names or images.class_synsets):
        return make_classes(record.label_count, images.class_names, images.class_synsets)
    return name_classes(record.output)
