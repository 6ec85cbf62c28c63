"""Plants faults in a right record, its labels and its graph, and asks `assay diagnose` for the cause.

Run by hand where labelled photographs and a network that is right on them are:

    python benchmarks/diagnose_faults.py MODEL.onnx RECORD.toml IMAGES LABELS [--cache FILE] [--only REGEX]

It prints a row for each fault: Top-1 with it, what the diagnosis says, and Top-1 with the changes; then pairs
of faults; then in how many samples of the photographs a right record is blamed. Faults of the graph are
planted around the network: it is fed, or its outputs are changed, as such a graph would. A cache keeps the
logits of each input, so that nothing is run twice.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from assay.arrays import Images, Logits
from assay.diagnose.finding import RecordFinding, conclude
from assay.diagnose.hypotheses import CONSTANTS
from assay.diagnose.label_maps import LabelMap, list_label_maps
from assay.diagnose.settle import search_record
from assay.diagnose.stage import Predict, Stage, State
from assay.diagnose.view import Photograph, View
from assay.images.classes import read_classes
from assay.images.label_files import LabelOptions
from assay.images.labels import read_class_names, read_devkit_labels
from assay.images.request import ImageRequest, index_requested_images
from assay.runs.listener import SILENT
from assay.workflows.diagnose.diagnose import make_predict
from assay.workflows.diagnose.open_subject import open_subject
from assay.workflows.diagnose.photographs import load_photographs

SAMPLES = 200
COLOUR, LABELS, ORDER = {"colour_order"}, {"label_offset"}, {"label_order"}
VALUES = {"pixel_scale", "mean", "std", "std_twice"}
GEOMETRY = {
    *("resize", "resize_side", "resize_size", "resize_filter", "sampling", "crop_size", "crop_shape"),
    *("pad_colour", "central_fraction", "square_first"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is diagnosed: a view, photographs with their labels, and the network."""

    view: View
    photographs: Sequence[Photograph]
    predict: Predict
    outputs: dict[str, Predict]


Plant = Callable[[Case], Case]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, the record's keys that undo it (empty where none does), and what plants it.

    `has_power` tells whether 100 images suffice by the measurements of a prototype.
    """

    name: str
    factors: set[str]
    plant: Plant
    has_power: bool = True


def set_record(**changes: object) -> Plant:
    """Change keys of the record's input or preprocessing."""

    def plant(case: Case) -> Case:
        record = case.view.record
        keys = set(record.input.__struct_fields__)
        tensor = {key: value for key, value in changes.items() if key in keys}
        made = {key: value for key, value in changes.items() if key not in keys}
        record = msgspec.structs.replace(
            record,
            input=msgspec.structs.replace(record.input, **tensor),
            preprocessing=msgspec.structs.replace(record.preprocessing, **made),
        )
        return replace(case, view=replace(case.view, record=record))

    return plant


def set_values(name: str) -> Plant:
    """Constants of the list of hypotheses."""
    scale, mean, std = CONSTANTS[name]
    return set_record(pixel_scale=scale, mean=mean, std=std)


def resize(**changes: object) -> Plant:
    """Another way to resize and crop."""
    unset = {"resize_side": None, "resize_size": None, "crop_size": None, "pad_colour": None}
    return set_record(**(unset | changes))


def turn(turned: Callable[[np.ndarray], np.ndarray], share: float = 1.0, exif: int = 1) -> Plant:
    """Photographs that are stored turned; `exif` tells viewers how to undo it."""

    def plant(case: Case) -> Case:
        last = round(share * len(case.photographs))
        photographs = [
            replace(one, stored=np.ascontiguousarray(turned(one.pixels)), jpeg=b"", exif_orientation=exif)
            if number < last
            else one
            for number, one in enumerate(case.photographs)
        ]
        return replace(case, photographs=photographs)

    return plant


def decode_at_half_size(case: Case) -> Case:
    """JPEGs decoded at half their size, by libjpeg's scaled DCT."""
    return replace(case, view=replace(case.view, decoding="half size"))


def relabel(order: Callable[[int], int]) -> Plant:
    """Give each photograph another label."""

    def plant(case: Case) -> Case:
        return replace(
            case, photographs=[replace(one, label=order(one.label or 0)) for one in case.photographs]
        )

    return plant


def change_graph(change: Callable[[Predict], Predict]) -> Plant:
    """Put something before or behind the network."""
    return lambda case: replace(case, predict=change(case.predict))


def normalise_first(scale: float, mean: float, std: float) -> Plant:
    """A graph that normalises, behind a record that does already."""
    return change_graph(
        lambda predict: lambda images: predict(((images / scale - mean) / std).astype(np.float32))
    )


def take_softmax(predict: Predict) -> Predict:
    """A graph that ends in a softmax."""

    def run(images: Images) -> Logits:
        logits = predict(images)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows: Logits = exponents / exponents.sum(axis=1, keepdims=True)
        return rows

    return run


def read_as_nhwc(predict: Predict) -> Predict:
    """A graph that takes its input's values for NHWC."""

    def run(images: Images) -> Logits:
        count, channels, height, width = images.shape
        return predict(
            np.ascontiguousarray(images.reshape(count, height, width, channels).transpose(0, 3, 1, 2))
        )

    return run


def swap_outputs(case: Case) -> Case:
    """The record names an auxiliary output: the classes' scores, mixed up and weak."""

    def auxiliary(images: Images) -> Logits:
        rows = case.predict(images)
        rng = np.random.default_rng(4)
        noise = rng.normal(size=(rows.shape[1], 64)) @ rng.normal(size=(64, rows.shape[1])) / 64
        return (rows @ noise).astype(np.float32)

    output = msgspec.structs.replace(case.view.record.output, name="auxiliary")
    record = msgspec.structs.replace(case.view.record, output=output)
    name = case.view.record.output.name
    return replace(
        case, view=replace(case.view, record=record), predict=auxiliary, outputs={name: case.predict}
    )


def add_background(case: Case) -> Case:
    """A network of one class more, the first, which the record does not know."""

    def run(images: Images) -> Logits:
        rows = case.predict(images)
        return np.concatenate([rows.min(axis=1, keepdims=True), rows], axis=1)

    output = msgspec.structs.replace(
        case.view.record.output, class_count=case.view.record.output.class_count + 1
    )
    record = msgspec.structs.replace(case.view.record, output=output)
    return replace(case, view=replace(case.view, record=record), predict=run)


def list_faults() -> dict[str, Fault]:
    """All single faults by name."""
    devkit = {label: place for place, label in enumerate(read_devkit_labels())}
    as_text = {number: place for place, number in enumerate(sorted(range(1000), key=str))}
    by_name = sorted(range(1000), key=read_class_names().__getitem__)
    named = {label: place for place, label in enumerate(by_name)}
    shuffled = np.random.default_rng(0).permutation(1000)
    lacking = {41, 170, 299, 480, 607, 744, 901}
    faults = [
        Fault(name="BGR", factors=COLOUR, plant=set_record(colour_order="BGR")),
        Fault(name="ImageNet mean/std", factors=VALUES, plant=set_values("ImageNet's mean and std")),
        Fault(name="CLIP mean/std", factors=VALUES, plant=set_values("CLIP's mean and std")),
        Fault(name="0 to 1, no mean", factors=VALUES, plant=set_values("0 to 1, no mean")),
        Fault(name="0 to 255, not scaled", factors=VALUES, plant=set_values("0 to 255, not scaled")),
        Fault(name="Caffe means, not scaled", factors=VALUES, plant=set_values("Caffe's means, not scaled")),
        Fault(
            name="mean 0.5, std 1",
            factors=VALUES,
            plant=set_values("mean of 0.5, not divided"),
            has_power=False,
        ),
        Fault(name="normalised twice", factors=VALUES, plant=set_record(mean=(0.75,) * 3, std=(0.25,) * 3)),
        Fault(
            name="squash to 224",
            factors=GEOMETRY,
            plant=resize(resize="squash", resize_size=(224, 224)),
            has_power=False,
        ),
        Fault(
            name="squash to 256, crop",
            factors=GEOMETRY,
            plant=resize(resize="squash", resize_size=(256, 256), crop_size=224),
            has_power=False,
        ),
        Fault(
            name="letterbox, grey",
            factors=GEOMETRY,
            plant=resize(
                resize="letterbox", resize_size=(224, 224), crop_size=224, pad_colour=(114, 114, 114)
            ),
        ),
        Fault(
            name="crop, not resized",
            factors=GEOMETRY,
            plant=resize(resize="none", resize_filter=None, crop_size=224, pad_colour=(0, 0, 0)),
        ),
        Fault(
            name="short side 224",
            factors=GEOMETRY,
            plant=resize(resize_side=224, crop_size=224),
            has_power=False,
        ),
        Fault(name="bilinear", factors=GEOMETRY, plant=set_record(resize_filter="bilinear"), has_power=False),
        Fault(name="nearest", factors=GEOMETRY, plant=set_record(resize_filter="nearest"), has_power=False),
        Fault(name="stored upside down", factors={"orientation"}, plant=turn(lambda one: one[::-1, ::-1])),
        Fault(name="stored transposed", factors={"orientation"}, plant=turn(lambda one: one.swapaxes(0, 1))),
        Fault(
            name="EXIF ignored, 30 % turned",
            factors={"orientation"},
            plant=turn(lambda one: one.swapaxes(0, 1)[::-1], share=0.3, exif=6),
        ),
        Fault(
            name="half-scale decode",
            factors={"decoding"},
            plant=decode_at_half_size,
            has_power=False,
        ),
        Fault(name="NHWC read as NCHW", factors={"layout"}, plant=change_graph(read_as_nhwc)),
        Fault(name="labels + 1", factors=LABELS, plant=relabel(lambda label: label + 1)),
        Fault(name="labels - 1", factors=LABELS, plant=relabel(lambda label: label - 1)),
        Fault(name="ILSVRC2012 IDs", factors=ORDER, plant=relabel(devkit.__getitem__)),
        Fault(name="ILSVRC2012 IDs from 1", factors=ORDER, plant=relabel(lambda label: devkit[label] + 1)),
        Fault(name="numbers sorted as text", factors=ORDER, plant=relabel(as_text.__getitem__)),
        Fault(name="names sorted", factors=ORDER, plant=relabel(named.__getitem__)),
        Fault(
            name="one class missing", factors=LABELS, plant=relabel(lambda label: label - int(label > 299))
        ),
        Fault(
            name="seven classes missing",
            factors=LABELS,
            plant=relabel(lambda label: label - sum(one < label for one in lacking)),
        ),
        Fault(name="labels shuffled", factors=set(), plant=relabel(lambda label: int(shuffled[label]))),
        Fault(name="graph normalises 0..1 already", factors=VALUES, plant=normalise_first(1, 0.5, 0.5)),
        Fault(name="graph normalises 0..255 already", factors=VALUES, plant=normalise_first(255, 0.5, 0.5)),
        Fault(name="softmax in the graph", factors={"scores"}, plant=change_graph(take_softmax)),
        Fault(name="auxiliary output", factors={"output.name"}, plant=swap_outputs),
        Fault(name="1001 classes, offset not recorded", factors=LABELS, plant=add_background),
        Fault(
            name="input never filled",
            factors=set(),
            plant=change_graph(lambda predict: lambda images: predict(np.zeros_like(images))),
        ),
    ]
    return {fault.name: fault for fault in faults}


PAIRS = (
    ("BGR", "ImageNet mean/std"),
    ("BGR", "squash to 224"),
    ("squash to 224", "labels + 1"),
    ("0 to 1, no mean", "short side 224"),
    ("BGR", "ILSVRC2012 IDs"),
    ("0 to 255, not scaled", "BGR"),
    ("Caffe means, not scaled", "stored upside down"),
    ("NHWC read as NCHW", "0 to 255, not scaled"),
    ("ImageNet mean/std", "half-scale decode"),
    ("NHWC read as NCHW", "labels + 1"),
    ("stored transposed", "normalised twice"),
    ("0 to 255, not scaled", "ILSVRC2012 IDs"),
)


class Sample(Stage):
    """A sample of another stage's photographs, each of which is shown once in each way for all samples."""

    def __init__(self, whole: Stage, places: Sequence[int], shown: dict[object, np.ndarray]) -> None:
        photographs = [whole.photographs[place] for place in places]
        super().__init__(photographs, lambda images: images[:, 0, 0], whole.maps)
        self._whole, self._places, self._shown = whole, np.array(places), shown

    def show(
        self, view: View, label_map: LabelMap | None, count: int | None = None, known: State | None = None
    ) -> State:
        """See `Stage.show`; nothing that is `known` saves anything here."""
        del known
        key = (view.resizing, view.record.input, view.record.preprocessing, view.layout)
        if key not in self._shown:
            self._shown[key] = self._whole.show(view, None).log_p
        return self._judge(view, label_map, self._shown[key][self._places[:count]])


class CachedPredict:
    """Runs the network on images that it has not seen; the others' logits come from a file or from memory."""

    def __init__(self, predict: Predict, path: Path | None) -> None:
        self._predict = predict
        self._rows = sqlite3.connect(path or ":memory:", timeout=600)
        self._rows.execute("create table if not exists logits (image blob primary key, row blob)")

    def __call__(self, images: Images) -> Logits:
        """The logits of the images, (N, classes)."""
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        rows = [self._find(key) for key in keys]
        missing = [place for place, row in enumerate(rows) if row is None]
        if missing:
            for place, row in zip(missing, self._predict(images[missing]), strict=True):
                rows[place] = row
                self._rows.execute(
                    "insert or ignore into logits values (?, ?)", (keys[place], row.astype("<f4").tobytes())
                )
            self._rows.commit()
        return np.stack([row for row in rows if row is not None])

    def _find(self, key: bytes) -> np.ndarray | None:
        found = self._rows.execute("select row from logits where image = ?", (key,)).fetchone()
        return None if found is None else np.frombuffer(found[0], "<f4")


def diagnose(case: Case) -> RecordFinding:
    """What the record's part of `assay diagnose` finds."""
    output = case.view.record.output
    count = max(case.view.record.label_count, 1 + max(one.label or 0 for one in case.photographs))
    stage = Stage(case.photographs, case.predict, list_label_maps(count, output), case.outputs)
    return conclude(search_record(stage, stage.show(case.view, stage.given_map), lambda _: None), None)


def judge(found: RecordFinding, faults: Sequence[Fault]) -> str:
    """Whether what was named is right: each fault by one of its keys, and no key of no fault."""
    named = {change.factor for change in found.changes}
    expected = set[str]().union(*(fault.factors for fault in faults))
    if found.outcome == "undecided":
        return "undecided"
    if named - expected:
        return "WRONG"
    missed = [fault for fault in faults if fault.factors and not named & fault.factors]
    if not missed:
        return "right"
    if len(missed) < len(faults) and not any(fault.has_power for fault in missed):
        return "right; no power for the other"
    if len(missed) < len(faults):
        return "half" if found.outcome == "helps" else "half, said to explain"
    return "missed" if any(fault.has_power for fault in missed) else "not found (no power)"


def describe(name: str, found: RecordFinding, verdict: str) -> str:
    """A row of the table."""
    before, after = found.before, found.after
    assert before is not None and after is not None
    changes = "; ".join(f"{one.factor}: {one.old} -> {one.new}" for one in found.changes) or "-"
    extra = (
        f" or: {', '.join(found.alternatives)} ({found.images_needed} images)" if found.alternatives else ""
    )
    notes = f" [{'; '.join(found.remarks)}]" if found.remarks else ""
    return (
        f"| {name} | {before.hits} | {found.outcome} | {changes}{extra}{notes} | {after.hits} | {verdict} |"
    )


def run_faults(case: Case, only: str) -> Iterator[str]:
    """The rows of single faults and of pairs."""
    faults = list_faults()
    groups = [("healthy",), *((name,) for name in faults), *PAIRS]
    for names in groups:
        title = " + ".join(names)
        if not re.search(only, title):
            continue
        planted, chosen = case, [faults[name] for name in names if name in faults]
        for fault in chosen:
            planted = fault.plant(planted)
        found = diagnose(planted)
        yield describe(title, found, judge(found, chosen))


def count_alarms(case: Case) -> Iterator[str]:
    """How often a right record is blamed, over samples of the photographs with and without replacement."""
    rng, shown = np.random.default_rng(0), dict[object, np.ndarray]()
    count, output = len(case.photographs), case.view.record.output
    whole = Stage(case.photographs, case.predict, list_label_maps(case.view.record.label_count, output))
    for size, again in ((count, True), (max(count * 2 // 3, 16), False)):
        alarms = 0
        for _ in range(SAMPLES):
            sample = Sample(whole, rng.choice(count, size, replace=again).tolist(), shown)
            start = sample.show(case.view, sample.given_map)
            alarms += conclude(search_record(sample, start, lambda _: None), None).outcome != "nothing"
        how = "with" if again else "without"
        yield f"alarms on the right record: {alarms} of {SAMPLES} ({size} images, {how} replacement)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "record", "images", "labels"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only", default="", help="regular expression of rows")
    parser.add_argument("--samples", action="store_true", help="the samples of the right record alone")
    given = parser.parse_args()
    with open_subject(given.model, str(given.record), SILENT) as subject:
        request = ImageRequest(path=given.images, labels=LabelOptions(path=given.labels))
        index = index_requested_images(request, read_classes(subject.record))
        photographs, _ = load_photographs(index, labelled=True, advance=lambda *_: None)
        predict = CachedPredict(make_predict(subject), given.cache)
        case = Case(view=View(record=subject.record), photographs=photographs, predict=predict, outputs={})
        if not given.samples:
            print("| fault | Top-1 | outcome | changes | Top-1 after | verdict |\n|---|---|---|---|---|---|")
            for row in run_faults(case, given.only):
                print(row, flush=True)
        if given.samples or not given.only:
            for line in count_alarms(case):
                print(line, flush=True)


if __name__ == "__main__":
    main()
