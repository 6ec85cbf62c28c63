"""Kaggle's layout: `ILSVRC/Data/CLS-LOC/val`, with a CSV or XML files that name each image's synset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

from assay.errors import BadImagesError, blame_file, quote
from assay.images.forms.folder import FolderOptions, list_folder, list_names
from assay.images.labels import read_synset_labels
from assay.images.listing import LabelledImage, Listing
from assay.images.read import Patience, try_patiently
from assay.images.table import make_table

SOLUTION_FILE = "LOC_val_solution.csv"


def find_kaggle_images(folder: Path) -> Path | None:
    """Find the folder of validation images below a folder of Kaggle's layout; None for another."""
    places = [folder / "ILSVRC" / "Data" / "CLS-LOC" / "val", folder / "Data" / "CLS-LOC" / "val"]
    return next((place for place in places if place.is_dir()), None)


def list_kaggle(folder: Path, images: Path, options: FolderOptions) -> Listing:
    """List the validation images of Kaggle's layout, labelled by the CSV if it is there, else by the XML.

    Raises:
        BadImagesError: As `list_folder`; or an XML file that names no synset of ImageNet.
        SourceError: The file system failed.
    """
    listing = dataclasses.replace(list_folder(images, options), form="Kaggle's layout")
    solutions = [
        parent / SOLUTION_FILE for parent in (folder, folder.parent) if (parent / SOLUTION_FILE).is_file()
    ]
    if solutions:
        return dataclasses.replace(listing, label_file=solutions[0])
    annotations = images.parents[2] / "Annotations" / "CLS-LOC" / "val"
    if not annotations.is_dir():
        return listing
    known = set(list_names(annotations))
    table = make_table(listing.images)
    named = table.with_classes(_read_xml(image, annotations, known) for image in table)
    return dataclasses.replace(
        listing, images=named, label_source="the annotations (XML)", label_kind="synsets"
    )


def _read_xml(image: LabelledImage, annotations: Path, known: set[str]) -> str:
    """The synset that an XML file has for the image; what its folder calls its class where there is none."""
    name = f"{image.name.rpartition('.')[0]}.xml"
    if name not in known:
        return image.class_name
    content = try_patiently((annotations / name).read_bytes, str(annotations / name), Patience())
    with blame_file(BadImagesError, f"{annotations / name} cannot be read"):
        synset = ElementTree.fromstring(content).findtext("object/name", default="").strip()
    if synset not in read_synset_labels():
        raise BadImagesError(
            f"{annotations / name}: its first object is {quote(synset[:40])}, no synset of ImageNet"
        )
    return synset
